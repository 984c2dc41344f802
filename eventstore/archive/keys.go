package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// keysFormat is that of a file of keys. It is apart from that of the log, so that an
// erasure can be carried through to all copies of the keys while those of the log stay.
const keysFormat = "hub-keys"

// keyTables are all that the key store is, in the order in which they are filled.
var keyTables = []struct {
	name    string
	columns []string
}{
	{"masters", []string{"id"}},
	{"subject_keys", []string{"org", "subject", "wrapped", "master", "created_at", "erased_at"}},
	{"secrets", []string{"org", "name", "wrapped", "master", "created_at"}},
	{"tokens", []string{"org", "hash", "token"}},
}

// maxNamed bounds the subjects that an error names.
const maxNamed = 10

// KeySummary is what a file of keys holds. All keys in it are wrapped.
type KeySummary struct {
	// Keys are those of subjects that are not erased, Erased those that are.
	Keys   int64
	Erased int64
	// Log is the first epoch of their log, and Position how far that was.
	Log      uuid.UUID
	Position int64
	TakenAt  time.Time
}

// ErrOtherLog means that keys are not of the log that they were given with.
var ErrOtherLog = errors.New("the keys are those of another log")

// MissingKeysError says that a log has sealed values whose keys are nowhere.
type MissingKeysError struct {
	Subjects int64
	// First are some of them, as organisation/subject.
	First []string
}

// Error implements error.
func (e *MissingKeysError) Error() string {
	return fmt.Sprintf("the log has sealed values of %d subjects whose keys are not there: %s … "+
		"Give the keys that were backed up with it or later, or restore them as erased", e.Subjects, strings.Join(e.First, ", "))
}

// BackupKeys writes all keys as they are now. conn is a superuser's.
func BackupKeys(ctx context.Context, conn *pgx.Conn, to io.Writer, program string) (summary KeySummary, err error) {
	err = inSnapshot(ctx, conn, program, func(tx pgx.Tx, h header) error {
		summary, err = writeKeys(ctx, tx, to, h)
		return err
	})
	return summary, err
}

// writeKeys writes the keys of the snapshot that h is of.
func writeKeys(ctx context.Context, tx pgx.Tx, to io.Writer, h header) (KeySummary, error) {
	h.Format, h.ReceiptColumns = keysFormat, nil
	w := newWriter(to, h.CreatedAt)
	if err := w.document(headerEntry, h); err != nil {
		return KeySummary{}, err
	}
	summary := h.keySummary()
	for _, table := range keyTables {
		err := export(ctx, tx, w, "hub_keys."+table.name, table.columns, "", func(r row) error {
			summary.count(table.name, r)
			return nil
		})
		if err != nil {
			return KeySummary{}, err
		}
	}
	return summary, w.close()
}

func (h header) keySummary() KeySummary {
	return KeySummary{Log: h.Epochs[0].ID, Position: h.Head, TakenAt: h.CreatedAt}
}

// count takes a row of a table.
func (s *KeySummary) count(table string, r row) {
	const wrapped = 2
	switch {
	case table != "subject_keys":
	case r.fields[wrapped] == nil:
		s.Erased++
	default:
		s.Keys++
	}
}

// VerifyKeys reads a whole file of keys and checks it.
func VerifyKeys(from io.Reader) (KeySummary, error) {
	return readKeys(from, func(header) error { return nil }, func(string, []string, []byte) error { return nil })
}

// readKeys goes through a file of keys, a chunk of rows at a time.
func readKeys(from io.Reader, begins func(header) error, chunk func(table string, columns []string, rows []byte) error) (KeySummary, error) {
	r, h, err := newReader(from, keysFormat)
	if err != nil {
		return KeySummary{}, err
	}
	if err := begins(h); err != nil {
		return KeySummary{}, err
	}
	summary := h.keySummary()
	for {
		name, content, err := r.next()
		if err != nil {
			return KeySummary{}, err
		}
		if name == manifestEntry {
			_, err := r.finish(content)
			return summary, err
		}
		name, _, _ = strings.Cut(strings.TrimPrefix(name, "hub_keys."), "/")
		columns := columnsOf(name)
		if columns == nil {
			return KeySummary{}, damaged("it has an entry %q", name)
		}
		if err := eachRow(content, len(columns), func(row row) error { summary.count(name, row); return nil }); err != nil {
			return KeySummary{}, damaged("%s", err)
		}
		if err := chunk(name, columns, content); err != nil {
			return KeySummary{}, err
		}
	}
}

func columnsOf(table string) []string {
	for _, known := range keyTables {
		if known.name == table {
			return known.columns
		}
	}
	return nil
}

// restoreKeys fills the empty key store of the log that has just been filled.
func restoreKeys(ctx context.Context, tx pgx.Tx, from io.Reader, log header) (KeySummary, error) {
	return readKeys(from, func(h header) error {
		if h.Epochs[0].ID != log.Epochs[0].ID {
			return ErrOtherLog
		}
		if h.Schema != log.Schema {
			return fmt.Errorf("the keys are of another version of the schema: they were backed up by %s", h.Program)
		}
		var filled bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM hub_keys.subject_keys) OR EXISTS (SELECT FROM hub_keys.secrets) OR EXISTS (SELECT FROM hub_keys.tokens)`).Scan(&filled)
		if err != nil {
			return fmt.Errorf("looking at the keys: %w", err)
		}
		if filled {
			return ErrNotEmpty
		}
		return nil
	}, func(table string, columns []string, rows []byte) error {
		copies := "COPY hub_keys." + table + " (" + strings.Join(columns, ", ") + ") FROM STDIN (FORMAT binary)"
		if _, err := tx.Conn().PgConn().CopyFrom(ctx, copied(rows), copies); err != nil {
			return fmt.Errorf("restoring %s: %w", table, err)
		}
		return nil
	})
}

// eraseAgain destroys the keys of those who were erased according to the log, when the file
// of keys was older than that.
func eraseAgain(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `
		UPDATE hub_keys.subject_keys k SET wrapped = NULL, master = NULL, erased_at = clock_timestamp()
		  FROM (SELECT DISTINCT e.org, s.subject FROM events e CROSS JOIN LATERAL unnest(e.subjects) AS s(subject) WHERE e.type = 'subject.erased') gone
		 WHERE k.org = gone.org AND k.subject = gone.subject AND k.erased_at IS NULL`)
	if err != nil {
		return fmt.Errorf("erasing what was erased: %w", err)
	}
	return nil
}

// sealedWithoutKey are the subjects of sealed values, in data and in reasons, that have no
// key and are not erased.
const sealedWithoutKey = `
	SELECT DISTINCT e.org, s.subject FROM events e
	 CROSS JOIN LATERAL (
	         SELECT jsonb_path_query(convert_from(e.data, 'UTF8')::jsonb, '$.** ? (exists(@."$sealed"))') WHERE position('"$sealed":'::bytea IN e.data) > 0
	          UNION ALL SELECT e.reason::jsonb WHERE cardinality(e.subjects) > 0 AND e.reason LIKE '{"$sealed":%') AS v(sealed)
	 CROSS JOIN LATERAL (
	         SELECT v.sealed->>'subject' UNION ALL SELECT jsonb_array_elements_text(coalesce(v.sealed->'within', '[]'))) AS s(subject)
	 WHERE s.subject IS NOT NULL
	   AND NOT EXISTS (SELECT FROM hub_keys.subject_keys k WHERE k.org = e.org AND k.subject = s.subject)`

// settleMissing makes sure that there is a key for whatever is sealed, or, asErased, that
// it reads as erased for ever: with another key it could not be told from what was moved.
func settleMissing(ctx context.Context, tx pgx.Tx, asErased bool) (unreadable int64, err error) {
	if asErased {
		done, err := tx.Exec(ctx, `INSERT INTO hub_keys.subject_keys (org, subject, erased_at) SELECT org, subject, clock_timestamp() FROM (`+sealedWithoutKey+`) w`)
		if err != nil {
			return 0, fmt.Errorf("marking what cannot be read: %w", err)
		}
		return done.RowsAffected(), nil
	}
	var missing MissingKeysError
	err = tx.QueryRow(ctx, `WITH w AS (`+sealedWithoutKey+`)
		SELECT (SELECT count(*) FROM w), ARRAY(SELECT org || '/' || subject FROM w ORDER BY 1 LIMIT $1)`, maxNamed).Scan(&missing.Subjects, &missing.First)
	if err != nil {
		return 0, fmt.Errorf("looking for keys that are missing: %w", err)
	}
	if missing.Subjects > 0 {
		return 0, &missing
	}
	return 0, nil
}
