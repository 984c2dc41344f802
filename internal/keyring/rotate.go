package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// rotatedAtOnce is how many keys one transaction wraps anew: a few milliseconds, in which
// nobody waits for these rows but an erasure of one of them.
const rotatedAtOnce = 500

// Rotate wraps everything anew that the current master key has not wrapped, a few hundred
// keys at a time, and tells how much is done. The keys stay the same, so that nothing else
// notices. It can be broken off and begun again. conn is a superuser's, as that of the
// migrations. Error: ErrOtherMaster.
func Rotate(ctx context.Context, conn *pgx.Conn, masters *Masters, progress func(done, total int64)) (int64, error) {
	if err := masters.check(ctx, conn); err != nil {
		return 0, err
	}
	if _, err := conn.Exec(ctx, `INSERT INTO hub_keys.masters (id) VALUES ($1) ON CONFLICT DO NOTHING`, masters.current.id); err != nil {
		return 0, fmt.Errorf("noting the master key: %w", err)
	}
	var total, done int64
	err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM hub_keys.subject_keys WHERE master <> $1) + (SELECT count(*) FROM hub_keys.secrets WHERE master <> $1)`,
		masters.current.id).Scan(&total)
	if err != nil {
		return 0, fmt.Errorf("counting keys: %w", err)
	}
	for _, table := range []rotated{rotatedKeys(), rotatedSecrets()} {
		at := row{}
		for more := true; more; {
			var n int64
			if n, at, more, err = table.some(ctx, conn, masters, at); err != nil {
				return done, err
			}
			done += n
			progress(done, max(total, done))
		}
	}
	// A process that still wraps by an older one notes it again with its next key.
	_, err = conn.Exec(ctx, `DELETE FROM hub_keys.masters m WHERE m.id <> $1
		AND NOT EXISTS (SELECT FROM hub_keys.subject_keys k WHERE k.master = m.id) AND NOT EXISTS (SELECT FROM hub_keys.secrets s WHERE s.master = m.id)`,
		masters.current.id)
	if err != nil {
		return done, fmt.Errorf("forgetting master keys: %w", err)
	}
	return done, nil
}

// row is a key or a secret.
type row struct {
	org, name string
	wrapped   []byte
	master    string
}

// rotated is a table whose rows are wrapped.
type rotated struct {
	selects, updates string
	boundTo          func(row) []byte
}

func rotatedKeys() rotated {
	return rotated{
		selects: `SELECT org, subject, wrapped, master FROM hub_keys.subject_keys
			WHERE (org, subject) > ($1, $2) AND master <> $3 ORDER BY org, subject LIMIT $4 FOR UPDATE`,
		updates: `UPDATE hub_keys.subject_keys k SET wrapped = u.wrapped, master = $4
			FROM unnest($1::text[], $2::text[], $3::bytea[]) AS u(org, name, wrapped) WHERE k.org = u.org AND k.subject = u.name`,
		boundTo: func(r row) []byte { return Ref{r.org, r.name}.associated(nil) },
	}
}

func rotatedSecrets() rotated {
	return rotated{
		selects: `SELECT org, name, wrapped, master FROM hub_keys.secrets
			WHERE (org, name) > ($1, $2) AND master <> $3 ORDER BY org, name LIMIT $4 FOR UPDATE`,
		updates: `UPDATE hub_keys.secrets k SET wrapped = u.wrapped, master = $4
			FROM unnest($1::text[], $2::text[], $3::bytea[]) AS u(org, name, wrapped) WHERE k.org = u.org AND k.name = u.name`,
		boundTo: func(r row) []byte { return secretAssociated(r.org, r.name) },
	}
}

// some rotates the next rows after one, in a transaction.
func (t rotated) some(ctx context.Context, conn *pgx.Conn, masters *Masters, after row) (n int64, last row, more bool, err error) {
	last = after
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		found, err := tx.Query(ctx, t.selects, after.org, after.name, masters.current.id, rotatedAtOnce)
		if err != nil {
			return err
		}
		rows, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (one row, err error) {
			return one, r.Scan(&one.org, &one.name, &one.wrapped, &one.master)
		})
		if err != nil {
			return err
		}
		var orgs, names []string
		var wrapped [][]byte
		for _, one := range rows {
			anew, err := masters.rewrap(one.wrapped, one.master, t.boundTo(one))
			if err != nil {
				return err
			}
			orgs, names, wrapped = append(orgs, one.org), append(names, one.name), append(wrapped, anew)
		}
		if n = int64(len(rows)); n > 0 {
			last, more = rows[n-1], n == rotatedAtOnce
			_, err = tx.Exec(ctx, t.updates, orgs, names, wrapped, masters.current.id)
		}
		return err
	})
	if err != nil {
		return 0, after, false, fmt.Errorf("wrapping keys anew: %w", err)
	}
	return n, last, more, nil
}

// Listing is what there is of one organisation under one master key.
type Listing struct {
	Org string `json:"org"`
	// Master is the fingerprint of the master key, empty for what is erased.
	Master string `json:"master"`
	// Current says that this process wraps by it.
	Current bool      `json:"current"`
	Keys    int64     `json:"keys"`
	Erased  int64     `json:"erased"`
	Newest  time.Time `json:"newest"`
}

// List counts the keys by organisation and master key. conn is a superuser's.
func List(ctx context.Context, conn *pgx.Conn, masters *Masters) ([]Listing, error) {
	rows, err := conn.Query(ctx, `
		SELECT org, coalesce(master, ''), count(*) FILTER (WHERE erased_at IS NULL), count(erased_at), max(coalesce(erased_at, created_at))
		  FROM hub_keys.subject_keys GROUP BY org, master ORDER BY org, master NULLS LAST`)
	if err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (l Listing, err error) {
		err = r.Scan(&l.Org, &l.Master, &l.Keys, &l.Erased, &l.Newest)
		l.Current, l.Newest = l.Master == masters.current.id, l.Newest.UTC()
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	return found, nil
}
