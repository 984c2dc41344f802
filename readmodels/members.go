package readmodels

import (
	"context"
	"encoding/json"
	"time"

	"github.com/reactdjango-hub/backend/domain"
)

// membersView is the view that holds the directory.
const membersView = "members"

// Member is somebody who has been seen in an organisation.
type Member struct {
	Sub       string    `json:"sub" doc:"The login." example:"ana"`
	Person    string    `json:"person" doc:"The human behind it." example:"p-7"`
	Roles     []string  `json:"roles" doc:"Roles that the latest token gave."`
	Groups    []string  `json:"groups" doc:"Groups that the latest token gave."`
	Version   int64     `json:"version" doc:"Counts the changes." example:"1"`
	UpdatedAt time.Time `json:"updated_at" doc:"When it was last changed."`
	// Name and Email are masks, with what they stand for in Sealed.
	Name  *string `json:"name" nullable:"true" doc:"For display; *** unless the caller has the role privacy or is this person, null when it is not known or was erased." example:"Ana"`
	Email *string `json:"email" nullable:"true" doc:"As name." example:"ana@example.com"`

	Sealed map[string]domain.Sealed `json:"-"`
}

// masked shows what is sealed as masks.
func (m *Member) masked(column []byte) error {
	if err := json.Unmarshal(column, &m.Sealed); err != nil {
		return err
	}
	mask := Hidden
	if _, known := m.Sealed["name"]; known {
		m.Name = &mask
	}
	if _, known := m.Sealed["email"]; known {
		m.Email = &mask
	}
	return nil
}

// MemberQuery selects members. Fields left zero do not restrict.
type MemberQuery struct {
	Page
	Role, Group, Person string
}

// MemberPage is a page of the directory.
type MemberPage struct {
	Items      []Member `json:"items" doc:"The members of this page, by login."`
	NextCursor *string  `json:"next_cursor" nullable:"true" doc:"Send it as cursor for the next page; null on the last one."`
	Count      *int64   `json:"count,omitempty" doc:"How many there are in all, when asked for."`
}

// Members lists the directory of an organisation by login. A filter looks at every
// member, which an organisation has some thousands of. Problems: invalid_limit (Invalid),
// invalid_cursor (Malformed), epoch_changed (Conflict).
func (s *Store) Members(ctx context.Context, org string, q MemberQuery) (MemberPage, Snapshot, error) {
	limit, err := q.limit()
	if err != nil {
		return MemberPage{}, Snapshot{}, err
	}
	scope := cursorScope{org: org, route: "members", sort: "sub", filters: []string{q.Role, q.Group, q.Person}}
	after, from := "", cursor{} // no login is empty, so all come after that
	if q.Cursor != "" {
		if from, err = s.open(q.Cursor, scope); err != nil {
			return MemberPage{}, Snapshot{}, err
		}
		if from.Value == nil {
			return MemberPage{}, Snapshot{}, invalidCursor()
		}
		after = *from.Value
	}
	var page MemberPage
	var cut bool
	at, err := s.read(ctx, org, membersView, func(schema string) statement {
		page = MemberPage{Items: []Member{}}
		where := `m.org = $2 AND ($5::text = '' OR $5 = ANY (m.roles)) AND ($6::text = '' OR $6 = ANY (m.groups)) AND ($7::text = '' OR m.person = $7)`
		return statement{
			sql: `SELECT ` + heads + `, ` + q.counted(schema+`.members m WHERE `+where) + `, m.sub, m.person, m.roles, m.groups, m.version, m.updated_at, m.sealed
				FROM ` + pointed + ` LEFT JOIN LATERAL (
					SELECT * FROM ` + schema + `.members m
					 WHERE ` + where + ` AND m.sub > $3 ORDER BY m.sub LIMIT $4
				) m ON true ORDER BY m.sub`,
			args: []any{membersView, org, after, limit + 1, q.Role, q.Group, q.Person},
			cut:  &cut,
			row: func(scan func(...any) error) error {
				var (
					sub, person   *string
					roles, groups []string
					version       *int64
					updatedAt     *time.Time
					sealed        []byte
				)
				if err := scan(&page.Count, &sub, &person, &roles, &groups, &version, &updatedAt, &sealed); err != nil || sub == nil {
					return err
				}
				found := Member{Sub: *sub, Person: *person, Roles: roles, Groups: groups, Version: *version, UpdatedAt: updatedAt.UTC()}
				err := found.masked(sealed)
				page.Items = append(page.Items, found)
				return err
			},
		}
	})
	if err == nil && q.Cursor != "" {
		err = from.sameLog(at)
	}
	if err != nil {
		return MemberPage{}, at, err
	}
	if page.Items, cut = paged(page.Items, limit, cut); cut {
		next, err := s.seal(cursor{Epoch: at.Epoch, Value: &page.Items[len(page.Items)-1].Sub}, scope)
		if err != nil {
			return MemberPage{}, at, err
		}
		page.NextCursor = &next
	}
	return page, at, nil
}
