package projections

// NudgeSubject is where a process whose views have moved says so over core NATS, for
// query APIs in other processes. A nudge may get lost; they also look by themselves.
const NudgeSubject = "hub.nudge.views"
