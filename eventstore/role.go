package eventstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrUnfitRole means that the database would not hold the laws against this login.
var ErrUnfitRole = errors.New("the database login cannot be used")

// CheckRole makes sure that a pool of OpenPool acts as its role, whatever its login is,
// and that row-level security binds that role. It says what to do when not so.
func CheckRole(ctx context.Context, pool *pgxpool.Pool, role Role) error {
	var bypasses bool
	var current string
	err := pool.QueryRow(ctx, `SELECT current_user, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user`).Scan(&current, &bypasses)
	const insufficientPrivilege, invalidParameter = "42501", "22023"
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == invalidParameter:
		return fmt.Errorf("%w: the role %s does not exist: run `hub migrate up` first", ErrUnfitRole, role)
	case errors.As(err, &refused) && refused.Code == insufficientPrivilege:
		return fmt.Errorf("%w: it may not act as %s: run GRANT %s TO that login", ErrUnfitRole, role, role)
	case err != nil:
		return fmt.Errorf("connecting as %s: %w", role, err)
	case current != string(role):
		return fmt.Errorf("%w: it acts as another role than %s: the setting \"role\" of the login or a pooler changes it", ErrUnfitRole, role)
	case bypasses:
		return fmt.Errorf("%w: row-level security does not bind %s: run ALTER ROLE %s NOSUPERUSER NOBYPASSRLS", ErrUnfitRole, role, role)
	}
	return nil
}
