package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNotEmpty is what a restore into a log with a history is refused with.
var ErrNotEmpty = errors.New("the log is not empty: restore into a new database, after `hub migrate up`")

// Verify reads a backup to its end and checks all of it, without a database.
func Verify(from io.Reader, progress Progress) (Summary, error) {
	return read(from, progress, func(header) error { return nil }, func(string, []byte, int64) error { return nil })
}

// Sources are what a log is restored from.
type Sources struct {
	Log io.Reader
	// Keys is nil where there are none, or where they are in the database already.
	Keys io.Reader
	// MissingAsErased restores sealed values whose keys are missing as erased, for ever;
	// otherwise nothing is restored then.
	MissingAsErased bool
}

// Restore fills the empty log of conn, a superuser's, and its empty key store from a
// backup, in one transaction: all of it or nothing. The log goes on in a new epoch, since
// what came after the backup is lost to it. Nothing else may write meanwhile; the log's lock
// is held. Errors: ErrNotEmpty, ErrDamaged, ErrOtherLog, MissingKeysError.
func Restore(ctx context.Context, conn *pgx.Conn, from Sources, progress Progress) (summary Summary, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		summary, err = restore(ctx, tx, from, progress)
		return err
	})
	if err != nil {
		return Summary{}, err
	}
	// What was copied in at once has no statistics yet, and every plan needs them.
	if _, err := conn.Exec(ctx, `ANALYZE events, event_tags, receipts, hub_keys.subject_keys, hub_keys.tokens`); err != nil {
		return Summary{}, fmt.Errorf("gathering statistics: %w", err)
	}
	return summary, nil
}

func restore(ctx context.Context, tx pgx.Tx, from Sources, progress Progress) (Summary, error) {
	var log header
	summary, err := read(from.Log, progress,
		func(h header) error {
			log = h
			return begin(ctx, tx, h)
		},
		func(table string, chunk []byte, after int64) error { return fill(ctx, tx, table, chunk, after) })
	if err != nil {
		return Summary{}, err
	}
	if from.Keys != nil {
		if summary.Keys, err = restoreKeys(ctx, tx, from.Keys, log); err != nil {
			return Summary{}, err
		}
	}
	if err := eraseAgain(ctx, tx); err != nil {
		return Summary{}, err
	}
	if summary.Unreadable, err = settleMissing(ctx, tx, from.MissingAsErased); err != nil {
		return Summary{}, err
	}
	return summary, tx.QueryRow(ctx, `SELECT epoch FROM log_head()`).Scan(&summary.Epoch)
}

// read goes through a backup: begins with its header, then a chunk of rows at a time.
// Each chunk is checked before it is handed on, with the last position before it, and all
// of them at the end.
func read(from io.Reader, progress Progress, begins func(header) error, chunk func(table string, rows []byte, after int64) error) (Summary, error) {
	r, h, err := newReader(from, formatName)
	if err != nil {
		return Summary{}, err
	}
	if err := begins(h); err != nil {
		return Summary{}, err
	}
	checker, receipts := newChecker(), int64(0)
	for {
		name, content, err := r.next()
		if err != nil {
			return Summary{}, err
		}
		table, _, _ := strings.Cut(name, "/")
		after := checker.head
		switch table {
		case "events":
			err = eachRow(content, len(eventColumns), func(row row) error { return checker.check(row.fields) })
			progress(checker.head, h.Head)
		case "receipts":
			err = eachRow(content, len(h.ReceiptColumns), func(row) error { receipts++; return nil })
		case manifestEntry:
			return finish(r, h, content, checker.head, receipts)
		default:
			err = fmt.Errorf("it has an entry %q", name)
		}
		if err != nil {
			return Summary{}, damaged("%s", err)
		}
		if err := chunk(table, content, after); err != nil {
			return Summary{}, err
		}
	}
}

func finish(r *reader, h header, content []byte, head, receipts int64) (Summary, error) {
	m, err := r.finish(content)
	if err != nil {
		return Summary{}, err
	}
	if m.Events != head || h.Head != head || m.Receipts != receipts {
		return Summary{}, damaged("it has %d events and %d receipts, not %d and %d", head, receipts, m.Events, m.Receipts)
	}
	return h.summary(m), nil
}

func eachRow(chunk []byte, columns int, do func(row) error) error {
	all, err := newRows(copied(chunk))
	if err != nil {
		return err
	}
	for {
		r, err := all.next(columns)
		if errors.Is(err, io.EOF) && !errors.Is(err, errNotRows) {
			return nil
		}
		if err == nil {
			err = do(r)
		}
		if err != nil {
			return err
		}
	}
}

// begin makes sure that the log is empty and of the backup's schema, and gives it the
// backup's epochs and a new one.
func begin(ctx context.Context, tx pgx.Tx, h header) error {
	var filled bool
	err := requireSuperuser(ctx, tx)
	if err == nil {
		_, err = tx.Exec(ctx, `LOCK TABLE log_lock IN EXCLUSIVE MODE`)
	}
	if err == nil {
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM events) OR EXISTS (SELECT FROM receipts)`).Scan(&filled)
	}
	if err != nil {
		return fmt.Errorf("looking at the log (has `hub migrate up` been run?): %w", err)
	}
	if filled {
		return ErrNotEmpty
	}
	schema, columns, err := shapeOf(ctx, tx)
	if err != nil {
		return fmt.Errorf("looking at the log: %w", err)
	}
	if schema != h.Schema || strings.Join(columns, ",") != strings.Join(h.ReceiptColumns, ",") {
		return fmt.Errorf("the backup is of another version of the schema: restore it with the hub that wrote it, %s, and migrate then", h.Program)
	}
	var (
		ids          []string
		after, forks []int64
		started      []time.Time
	)
	for _, e := range h.Epochs {
		ids, after, forks, started = append(ids, e.ID.String()), append(after, e.After), append(forks, e.Fork), append(started, e.StartedAt)
	}
	if _, err := tx.Exec(ctx, `SELECT restore_epochs($1::text[]::uuid[], $2, $3, $4, $5)`, ids, after, forks, started, h.Head); err != nil {
		return fmt.Errorf("restoring the epochs: %w", err)
	}
	return nil
}

// fill copies a chunk of rows into its table; events come after a position.
func fill(ctx context.Context, tx pgx.Tx, table string, chunk []byte, after int64) error {
	into := table
	if table == "events" {
		into = "events (" + strings.Join(eventColumns, ", ") + ")"
		// A chunk is far smaller than the two partitions that are kept ahead.
		if _, err := tx.Exec(ctx, `SELECT ensure_partitions()`); err != nil {
			return fmt.Errorf("making room in the log: %w", err)
		}
	}
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, copied(chunk), "COPY "+into+" FROM STDIN (FORMAT binary)"); err != nil {
		return fmt.Errorf("restoring %s: %w", table, err)
	}
	if table != "events" {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO event_tags
		SELECT e.org, t.tag, e.position FROM events e CROSS JOIN LATERAL unnest(e.tags) AS t(tag)
		 WHERE e.position > $1 ORDER BY e.position`, after)
	if err != nil {
		return fmt.Errorf("restoring the tags: %w", err)
	}
	return nil
}
