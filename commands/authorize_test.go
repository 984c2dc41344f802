package commands_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reactdjango-hub/backend/commands"
)

var allPermissions = commands.Permissions()

// ofAdmin are all permissions but those of auditor and privacy, which admins must not have.
func ofAdmin() []commands.Permission {
	return slices.DeleteFunc(slices.Clone(allPermissions), func(p commands.Permission) bool {
		return p == commands.AuditRead || p == commands.SensitiveRead
	})
}

func TestAllowedByRole(t *testing.T) {
	t.Parallel()
	reads := []commands.Permission{commands.AccountsRead, commands.EntitiesRead, commands.EntityTypesRead, commands.OrganizationRead, commands.TransactionsRead}
	uses := append([]commands.Permission{commands.EntitiesChange}, reads...) // as each entity allows
	for role, want := range map[string][]commands.Permission{
		"viewer":   uses,
		"editor":   append([]commands.Permission{commands.EntitiesWrite, commands.TransactionsWrite, commands.TransactionsPost}, uses...),
		"approver": append([]commands.Permission{commands.TransactionsApprove, commands.TransactionsPost}, uses...),
		"analyst":  append([]commands.Permission{commands.EventsRead}, uses...),
		"auditor":  append([]commands.Permission{commands.AuditRead}, reads...),
		"privacy":  append([]commands.Permission{commands.SensitiveRead}, uses...),
		"operator": append([]commands.Permission{commands.Operations}, uses...),
		"admin":    ofAdmin(),
		// Names are compared exactly, and an unknown one grants nothing.
		"Admin": nil, "": nil, "owner": nil,
	} {
		for _, p := range allPermissions {
			if got := commands.Allowed(p, []string{role}); got != slices.Contains(want, p) {
				t.Errorf("role %q, permission %s: got %v", role, p, got)
			}
		}
	}
}

func TestHeldPermissions(t *testing.T) {
	t.Parallel()
	if got := commands.Held([]string{"admin"}); !slices.Equal(got, ofAdmin()) {
		t.Errorf("admin holds %v", got)
	}
	if got := commands.Held(nil); got == nil || len(got) > 0 {
		t.Errorf("nobody holds %v", got)
	}
	if !slices.IsSorted(allPermissions) || !slices.Contains(commands.Roles(), "privacy") {
		t.Errorf("%v, %v", allPermissions, commands.Roles())
	}
}

func TestAllowedIsTheUnionOfRoles(t *testing.T) {
	t.Parallel()
	if !commands.Allowed(commands.EntitiesWrite, []string{"auditor", "unknown", "editor"}) {
		t.Error("an auditor who is also an editor may not write")
	}
	if commands.Allowed(commands.EntityTypesWrite, []string{"editor", "approver", "operator"}) {
		t.Error("roles together grant what none of them does")
	}
}

func TestNobodyIsAllowedWithoutRolesOrPermission(t *testing.T) {
	t.Parallel()
	for _, p := range allPermissions {
		if commands.Allowed(p, nil) {
			t.Errorf("%s is allowed without a role", p)
		}
	}
	for _, p := range []commands.Permission{"", "entities", "entities.delete"} {
		if commands.Allowed(p, []string{"admin"}) {
			t.Errorf("the unknown permission %q is allowed", p)
		}
	}
}

func TestAuditorsAndPrivacyOfficersWriteNoData(t *testing.T) {
	t.Parallel()
	for _, p := range allPermissions {
		if strings.HasSuffix(string(p), ".write") && commands.Allowed(p, []string{"auditor", "privacy", "viewer", "analyst"}) {
			t.Errorf("%s is granted to a role that only reads", p)
		}
	}
}
