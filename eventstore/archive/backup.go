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

// Progress is told how many of all events are done.
type Progress func(done, total int64)

// Files are what a backup is written to.
type Files struct {
	Log io.Writer
	// Keys gets the keys of the same snapshot; nil leaves them out.
	Keys io.Writer
}

// Backup writes a snapshot of the log and its receipts, and of its keys. conn is a
// superuser's, as that of the migrations: it must see all organisations. program says which
// version wrote it.
func Backup(ctx context.Context, conn *pgx.Conn, to Files, program string, progress Progress) (summary Summary, err error) {
	err = inSnapshot(ctx, conn, program, func(tx pgx.Tx, h header) error {
		if summary, err = writeLog(ctx, tx, to.Log, h, progress); err != nil {
			return err
		}
		if to.Keys == nil {
			return tx.QueryRow(ctx, `SELECT count(*) FROM hub_keys.subject_keys WHERE erased_at IS NULL`).Scan(&summary.KeysLeftOut)
		}
		summary.Keys, err = writeKeys(ctx, tx, to.Keys, h)
		return err
	})
	return summary, err
}

// inSnapshot gives do one state of the database, and the header that tells of it.
func inSnapshot(ctx context.Context, conn *pgx.Conn, program string, do func(pgx.Tx, header) error) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("beginning the snapshot: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	h, err := snapshot(ctx, tx, program)
	if err != nil {
		return err
	}
	return do(tx, h)
}

func writeLog(ctx context.Context, tx pgx.Tx, to io.Writer, h header, progress Progress) (Summary, error) {
	w := newWriter(to, h.CreatedAt)
	if err := w.document(headerEntry, h); err != nil {
		return Summary{}, err
	}
	checker := newChecker()
	err := export(ctx, tx, w, "events", eventColumns, "position", func(r row) error {
		if err := checker.check(r.fields); err != nil {
			return fmt.Errorf("the log is damaged, see docs/runbooks/log-damaged.md: %w", err)
		}
		w.manifest.Events++
		progress(w.manifest.Events, h.Head)
		return nil
	})
	if err != nil {
		return Summary{}, err
	}
	if checker.head != h.Head {
		return Summary{}, fmt.Errorf("the log's head is %d, but %d events were read", h.Head, checker.head)
	}
	err = export(ctx, tx, w, "receipts", h.ReceiptColumns, "", func(row) error { w.manifest.Receipts++; return nil })
	if err != nil {
		return Summary{}, err
	}
	return h.summary(w.manifest), w.close()
}

func (h header) summary(m manifest) Summary {
	return Summary{Events: m.Events, Receipts: m.Receipts, Epoch: h.Epochs[len(h.Epochs)-1].ID, Log: h.Epochs[0].ID, TakenAt: h.CreatedAt}
}

// snapshot is what the header says of the log, as of the transaction.
func snapshot(ctx context.Context, tx pgx.Tx, program string) (header, error) {
	h := header{Format: formatName, FormatVersion: formatVersion, Program: program}
	err := requireSuperuser(ctx, tx)
	if err == nil {
		err = tx.QueryRow(ctx, `SELECT clock_timestamp(), coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0)`).Scan(&h.CreatedAt, &h.Head)
	}
	if err == nil {
		h.Schema, h.ReceiptColumns, err = shapeOf(ctx, tx)
	}
	if err != nil {
		return h, fmt.Errorf("reading the log: %w", err)
	}
	h.CreatedAt = h.CreatedAt.UTC().Truncate(time.Microsecond)
	found, err := tx.Query(ctx, `SELECT epoch, after_position, fork_position, started_at FROM log_epochs ORDER BY number`)
	if err == nil {
		h.Epochs, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (e epoch, err error) {
			return e, r.Scan(&e.ID, &e.After, &e.Fork, &e.StartedAt)
		})
	}
	if err != nil || len(h.Epochs) == 0 {
		return h, fmt.Errorf("reading the log's epochs: %w", err)
	}
	return h, nil
}

// requireSuperuser refuses a login that row-level security shows a part of the log only.
func requireSuperuser(ctx context.Context, tx pgx.Tx) error {
	var super bool
	if err := tx.QueryRow(ctx, `SELECT rolsuper FROM pg_roles WHERE rolname = current_user`).Scan(&super); err != nil {
		return err
	}
	if !super {
		return errors.New("the login is no superuser and would see a part of the log only: use that of the migrations, MIGRATE_DATABASE_URL")
	}
	return nil
}

// shapeOf is the version of the log's schema and the columns of its receipts.
func shapeOf(ctx context.Context, tx pgx.Tx) (schema string, receipts []string, err error) {
	err = tx.QueryRow(ctx, `SELECT coalesce(obj_description('log_migrations'::regclass, 'pg_class'), ''),
		(SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
		  WHERE attrelid = 'receipts'::regclass AND attnum > 0 AND NOT attisdropped)`).Scan(&schema, &receipts)
	return schema, receipts, err
}

// export writes all rows of a table in chunks.
func export(ctx context.Context, tx pgx.Tx, w *writer, table string, columns []string, order string, each func(row) error) error {
	query := "SELECT " + strings.Join(columns, ", ") + " FROM " + table
	if order != "" {
		query += " ORDER BY " + order
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, into := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, err := tx.Conn().PgConn().CopyTo(ctx, into, "COPY ("+query+") TO STDOUT (FORMAT binary)")
		into.CloseWithError(err)
		sent <- err
	}()
	err := chunks(from, w, table, len(columns), each)
	if err != nil {
		cancel() // nobody reads the rest
	}
	_ = from.CloseWithError(errors.New("not read to its end"))
	if sendErr := <-sent; err == nil && sendErr != nil {
		err = sendErr
	}
	if err != nil {
		return fmt.Errorf("backing up %s: %w", table, err)
	}
	return nil
}

// chunks makes entries of a stream of rows.
func chunks(from io.Reader, w *writer, table string, columns int, each func(row) error) error {
	all, err := newRows(from)
	if err != nil {
		return err
	}
	chunk := make([]byte, 0, chunkBytes+1<<16)
	number := 0
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		number++
		err := w.entry(fmt.Sprintf("%s/%06d", table, number), chunk)
		chunk = chunk[:0]
		return err
	}
	for {
		r, err := all.next(columns)
		if errors.Is(err, io.EOF) && !errors.Is(err, errNotRows) {
			_, _ = io.Copy(io.Discard, from) // the end of the protocol
			return flush()
		}
		if err == nil {
			err = each(r)
		}
		if err != nil {
			return err
		}
		if chunk = append(chunk, r.raw...); len(chunk) >= chunkBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}
