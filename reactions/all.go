package reactions

// All are the reactions of the product. A new one is a line here.
func All() []Reaction {
	return []Reaction{}
}
