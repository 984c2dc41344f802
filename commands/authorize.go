package commands

import "slices"

// Permission is one thing a caller may be allowed to do; every route names the
// one it needs.
type Permission string

// The permissions.
const (
	AccountsRead  Permission = "accounts.read"
	AccountsWrite Permission = "accounts.write"

	// EntitiesChange is about entities that exist: of each, its ACL entries have the last
	// word or, without any, EntitiesWrite.
	EntitiesChange   Permission = "entities.change"
	EntitiesRead     Permission = "entities.read"
	EntitiesWrite    Permission = "entities.write"
	EntityTypesRead  Permission = "entity_types.read"
	EntityTypesWrite Permission = "entity_types.write"

	EventsRead Permission = "events.read"

	MembersRead Permission = "members.read"

	Operations Permission = "operations"

	OrganizationRead  Permission = "organization.read"
	OrganizationWrite Permission = "organization.write"

	// SensitiveRead is about the values that others see as ***.
	SensitiveRead Permission = "sensitive.read"

	// AuditRead is about who has done and seen what.
	AuditRead Permission = "audit.read"

	// TransactionRulesWrite is about approval and closed periods, TransactionsApprove also
	// about rejecting, voiding and reversing.
	TransactionRulesWrite Permission = "transaction_rules.write"
	TransactionsApprove   Permission = "transactions.approve"
	TransactionsPost      Permission = "transactions.post"
	TransactionsRead      Permission = "transactions.read"
	TransactionsWrite     Permission = "transactions.write"
)

// Permissions are all of them, in alphabetical order.
func Permissions() []Permission {
	return []Permission{
		AccountsRead, AccountsWrite, AuditRead, EntitiesChange, EntitiesRead, EntitiesWrite, EntityTypesRead, EntityTypesWrite, EventsRead, MembersRead, Operations,
		OrganizationRead, OrganizationWrite, SensitiveRead, TransactionRulesWrite, TransactionsApprove, TransactionsPost, TransactionsRead, TransactionsWrite,
	}
}

// Roles are all that a token may carry, those with fewer permissions first.
func Roles() []string {
	return []string{roleViewer, roleEditor, roleApprover, roleAnalyst, roleAuditor, rolePrivacy, roleOperator, roleAdmin}
}

// Held are the permissions of a caller with these roles, in alphabetical order.
func Held(roles []string) []Permission {
	held := []Permission{}
	for _, p := range Permissions() {
		if Allowed(p, roles) {
			held = append(held, p)
		}
	}
	return held
}

// The roles that a token may carry. Contract: §2.
const (
	roleViewer   = "viewer"
	roleEditor   = "editor"
	roleApprover = "approver"
	roleAnalyst  = "analyst"
	roleAuditor  = "auditor"
	rolePrivacy  = "privacy"
	roleOperator = "operator"
	roleAdmin    = "admin"
)

// Allowed reports whether a caller with these roles holds the permission.
//
// A caller holds the union of what the roles grant: roles add and never take
// away. So "nothing is written by an auditor" is kept by granting the auditor role
// no write, and somebody who is auditor and editor writes as an editor; whether
// one person should be both is decided by whoever gives out roles. A role that is
// not known grants nothing.
func Allowed(p Permission, roles []string) bool {
	granted := grantedTo(p)
	return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(granted, role) })
}

// grantedTo is the table of permissions: which roles hold each.
func grantedTo(p Permission) []string {
	switch p {
	case AccountsRead, EntitiesRead, EntityTypesRead, OrganizationRead, TransactionsRead:
		// Every role also reads what a viewer reads.
		return Roles()
	case EntitiesChange:
		// Entries can let anybody write but an auditor, by whom nothing is written.
		return slices.DeleteFunc(Roles(), func(role string) bool { return role == roleAuditor })
	case EntitiesWrite, TransactionsWrite:
		return []string{roleEditor, roleAdmin}
	case TransactionsPost:
		return []string{roleEditor, roleApprover, roleAdmin}
	case TransactionsApprove:
		return []string{roleApprover, roleAdmin}
	case AccountsWrite, EntityTypesWrite, MembersRead, OrganizationWrite, TransactionRulesWrite:
		return []string{roleAdmin}
	case EventsRead:
		return []string{roleAnalyst, roleAdmin}
	case SensitiveRead:
		return []string{rolePrivacy}
	case AuditRead:
		return []string{roleAuditor}
	case Operations:
		return []string{roleOperator, roleAdmin}
	}
	// A permission outside the table is nobody's.
	return nil
}
