package transactions

// At is for a test of what no rule leads to.
var At = at
