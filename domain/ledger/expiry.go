package ledger

import "github.com/reactdjango-hub/backend/domain"

// Expiry is the timer that ends transactions which were not posted in time.
func Expiry() domain.Timer {
	return domain.Timer{
		Name: "transaction_expiry",
		Types: []string{
			Drafted{}.EventType(), Updated{}.EventType(), Submitted{}.EventType(), Rejected{}.EventType(),
			Posted{}.EventType(), Voided{}.EventType(), Expired{}.EventType(),
		},
		Change: func(e domain.Event, payload domain.Payload) (domain.TimerChange, bool) {
			change := domain.TimerChange{Key: e.Stream.Name()}
			content, anew := (*Content)(nil), false
			switch p := payload.(type) {
			case Drafted:
				content, anew = &p.Content, true
			case Submitted:
				if p.Content == nil {
					return change, false
				}
				content, anew = p.Content, true
			case Updated:
				content = &p.Content
			case Posted:
				return change, p.Content == nil // one that begins posted never had a timer
			}
			if content != nil && content.ExpiresAt != nil {
				change.Set, change.Due = true, *content.ExpiresAt
			}
			return change, change.Set || !anew
		},
	}
}
