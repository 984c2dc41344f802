package commands

import (
	"github.com/google/uuid"
)

// follower is a call with the idempotency key or the command id of an earlier one in
// the same turn.
type follower struct {
	*call
	leader *call
}

func separate(calls []*call) (leaders []*call, followers []follower) {
	byKey, byCommand := make(map[scope]*call), make(map[uuid.UUID]*call)
	for _, c := range calls {
		leader := byCommand[c.Meta.CommandID]
		if leader == nil && c.IdempotencyKey != "" {
			leader = byKey[c.scope()]
		}
		if leader != nil {
			followers = append(followers, follower{c, leader})
			continue
		}
		byCommand[c.Meta.CommandID], byKey[c.scope()] = c, c
		leaders = append(leaders, c)
	}
	return leaders, followers
}
