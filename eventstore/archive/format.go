// Package archive writes the log and its receipts to one file, and a log from such a
// file: hub backup and hub restore. It reads one snapshot while others append, streams,
// and checks each event on the way, out and in: its leaf hash, its place among its
// neighbours, its time. What does not pass ends the backup or the restore, so a backup
// that was written is one that can be restored.
//
// The file is a gzipped tar, so that one can look into it: header.json, then chunks of
// rows in PostgreSQL's binary COPY format (events/000001, …, receipts/000001, …), then
// manifest.json with the checksum of each. A file that was cut off has no manifest.
// The keys of sealed values are in a file of their own (keys.go), of the same form.
package archive

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
)

const (
	// formatName and formatVersion are in the header of every file.
	formatName    = "hub-backup"
	formatVersion = 1
	headerEntry   = "header.json"
	manifestEntry = "manifest.json"
	// chunkBytes is how large an entry becomes before the next begins: little to hold
	// in memory, and enough for tar's headers not to matter.
	chunkBytes = 4 << 20
	// maxEntryBytes bounds an entry that is read. A chunk ends with the row that fills
	// it, and an event is 256 KiB with what it carries beside.
	maxEntryBytes = 64 << 20
)

// header is known before the first row is read.
type header struct {
	Format        string    `json:"format"`
	FormatVersion int       `json:"format_version"`
	Program       string    `json:"program"`
	CreatedAt     time.Time `json:"created_at"`
	// Schema is the version of the log's schema.
	Schema string `json:"schema"`
	// Head is the last position; the events are 1 to Head.
	Head   int64   `json:"head"`
	Epochs []epoch `json:"epochs"`
	// ReceiptColumns are the columns of the receipts, in the order of their fields; a file
	// of keys has none.
	ReceiptColumns []string `json:"receipt_columns,omitempty"`
}

// epoch is a row of log_epochs.
type epoch struct {
	ID        uuid.UUID `json:"epoch"`
	After     int64     `json:"after_position"`
	Fork      int64     `json:"fork_position"`
	StartedAt time.Time `json:"started_at"`
}

// manifest is written last.
type manifest struct {
	Entries  []entry `json:"entries"`
	Events   int64   `json:"events"`
	Receipts int64   `json:"receipts"`
}

type entry struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Summary is what a backup holds.
type Summary struct {
	Events   int64     `json:"events"`
	Receipts int64     `json:"receipts"`
	Epoch    uuid.UUID `json:"epoch"`
	// Log is the first epoch, which tells logs apart.
	Log uuid.UUID `json:"log"`
	// TakenAt is when the snapshot was taken.
	TakenAt time.Time `json:"taken_at"`
	// Keys are the keys beside it: those that were written, or restored, with it.
	Keys KeySummary `json:"keys"`
	// KeysLeftOut are those that there were and that a backup was not to write.
	KeysLeftOut int64 `json:"keys_left_out"`
	// Unreadable are the subjects whose sealed values were restored as erased.
	Unreadable int64 `json:"unreadable"`
}

// ErrDamaged means that a file is not a whole and unchanged backup.
var ErrDamaged = errors.New("this is not an intact backup of a hub")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// writer writes entries and remembers their checksums.
type writer struct {
	gzip     *gzip.Writer
	tar      *tar.Writer
	at       time.Time
	manifest manifest
}

func newWriter(to io.Writer, at time.Time) *writer {
	// Rows compress three- to fivefold even so, at the speed of a disk.
	zipped, _ := gzip.NewWriterLevel(to, gzip.BestSpeed) // the level is a valid one
	return &writer{gzip: zipped, tar: tar.NewWriter(zipped), at: at}
}

func (w *writer) entry(name string, content []byte) error {
	sum := sha256.Sum256(content)
	w.manifest.Entries = append(w.manifest.Entries, entry{name, int64(len(content)), hex.EncodeToString(sum[:])})
	return w.raw(name, content)
}

func (w *writer) raw(name string, content []byte) error {
	err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: w.at, Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.tar.Write(content)
	}
	if err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

func (w *writer) document(name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if name == manifestEntry {
		return w.raw(name, text)
	}
	return w.entry(name, text)
}

func (w *writer) close() error {
	if err := w.document(manifestEntry, w.manifest); err != nil {
		return err
	}
	if err := errors.Join(w.tar.Close(), w.gzip.Close()); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

// reader reads entries and checks them against the manifest at the end.
type reader struct {
	zipped *gzip.Reader
	tar    *tar.Reader
	seen   []entry
}

func newReader(from io.Reader, format string) (*reader, header, error) {
	zipped, err := gzip.NewReader(from)
	if err != nil {
		return nil, header{}, damaged("it is not compressed by gzip")
	}
	r := &reader{zipped: zipped, tar: tar.NewReader(zipped)}
	name, content, err := r.next()
	if err != nil {
		return nil, header{}, err
	}
	var h header
	if name != headerEntry || json.Unmarshal(content, &h) != nil || h.Format != format || len(h.Epochs) == 0 {
		return nil, header{}, damaged("it does not begin with a header of %s", format)
	}
	if h.FormatVersion != formatVersion {
		return nil, header{}, fmt.Errorf("the backup has format %d, this hub reads %d: use the version of hub that wrote it, %s", h.FormatVersion, formatVersion, h.Program)
	}
	return r, h, nil
}

// next is the next entry as a whole.
func (r *reader) next() (name string, content []byte, err error) {
	head, err := r.tar.Next()
	if err != nil {
		return "", nil, damaged("it ends too early")
	}
	if head.Size > maxEntryBytes {
		return "", nil, damaged("%s is too large", head.Name)
	}
	content = make([]byte, head.Size)
	if _, err := io.ReadFull(r.tar, content); err != nil {
		return "", nil, damaged("it ends within %s", head.Name)
	}
	sum := sha256.Sum256(content)
	r.seen = append(r.seen, entry{head.Name, head.Size, hex.EncodeToString(sum[:])})
	return head.Name, content, nil
}

// finish compares what was read with the manifest, which was the last entry.
func (r *reader) finish(text []byte) (manifest, error) {
	var m manifest
	if json.Unmarshal(text, &m) != nil {
		return m, damaged("its manifest cannot be read")
	}
	read := r.seen[:len(r.seen)-1]
	if len(m.Entries) != len(read) {
		return m, damaged("it has %d entries, %d are listed", len(read), len(m.Entries))
	}
	for i, e := range m.Entries {
		if read[i] != e {
			return m, damaged("%s is not as it was written", e.Name)
		}
	}
	// To the end, where gzip has its own checksum.
	if _, err := io.Copy(io.Discard, r.zipped); err != nil {
		return m, damaged("its end is missing")
	}
	return m, nil
}
