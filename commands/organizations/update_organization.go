// Package organizations holds the commands on an organisation's settings. The rules
// are in domain/organization.
package organizations

import (
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/organization"
)

// UpdateOrganization replaces the settings of the caller's organisation.
//
// Permission: organization.write. Reads: the organisation.
type UpdateOrganization struct {
	// Org is the caller's.
	Org      string
	Settings organization.Settings
}

// Boundaries names what the decision depends on.
func (c UpdateOrganization) Boundaries(domain.Reader) []domain.Tag {
	return []domain.Tag{organization.Stream(c.Org)}
}

// Decide changes the settings.
func (c UpdateOrganization) Decide(r domain.Reader, m domain.Meta) (domain.Decision, error) {
	current, err := organization.Open(r, m)
	if err != nil {
		return domain.Decision{}, err
	}
	facts, err := c.Settings.Decide(c.Org, current)
	return domain.Decision{ResourceID: c.Org, Stream: organization.Stream(c.Org), Facts: facts}, err
}
