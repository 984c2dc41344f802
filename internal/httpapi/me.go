package httpapi

import (
	"context"
	"time"

	"github.com/reactdjango-hub/backend/commands"
)

// Me is the caller, as the token says, and what the roles in it allow.
type Me struct {
	Sub         string                `json:"sub" doc:"The login." example:"ana"`
	Person      string                `json:"person_id" doc:"The human behind the login; the login itself when the token names none." example:"p-7"`
	Name        string                `json:"name,omitempty" doc:"For display." example:"Ana"`
	Email       string                `json:"email,omitempty" example:"ana@example.com"`
	Org         string                `json:"org_id" doc:"The organisation that everything the caller does belongs to." example:"acme"`
	Roles       []string              `json:"roles" doc:"As the token names them; those that are not known here grant nothing." example:"[\"editor\"]"`
	Groups      []string              `json:"groups" example:"[\"sales\"]"`
	Permissions []commands.Permission `json:"permissions" doc:"What the roles allow together." example:"[\"entities.read\"]"`
	MFA         bool                  `json:"mfa" doc:"Whether the login was confirmed with a second factor."`
	Expires     time.Time             `json:"expires_at" doc:"When the token expires."`
}

type meOutput struct{ Body Me }

func (a *API) getMe(ctx context.Context, _ *struct{}) (*meOutput, error) {
	e := exchangeOf(ctx)
	e.Header().Add("Vary", "Authorization")
	c := e.caller
	me := Me{
		Sub: c.Sub, Person: c.Person, Name: c.Name, Email: c.Email, Org: c.Org, MFA: c.MFA, Expires: c.Expires.UTC(),
		Roles: append([]string{}, c.Roles...), Groups: append([]string{}, c.Groups...), Permissions: commands.Held(c.Roles),
	}
	return &meOutput{Body: me}, nil
}
