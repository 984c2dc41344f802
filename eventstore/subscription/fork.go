package subscription

import "fmt"

// ForkedError says that the log has lost what was before the place asked for, or a part
// of it, and went on differently. From is the place up to which all is as it was.
type ForkedError struct{ At, From Place }

func (e *ForkedError) Error() string {
	return fmt.Sprintf("the log has lost its end, position %d included; it goes on differently after %d", e.At.Position, e.From.Position)
}
