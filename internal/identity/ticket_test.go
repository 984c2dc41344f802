package identity

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newTickets(t *testing.T, key byte) *Tickets {
	t.Helper()
	tickets, err := NewTickets(bytes.Repeat([]byte{key}, 32))
	require.NoError(t, err)
	return tickets
}

func TestATicketStandsForItsCaller(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	caller := Caller{
		Org: "acme", Sub: "ana", Person: "p-7", Name: "Ana", Email: "ana@example.com", Roles: []string{"analyst"}, Groups: []string{"sales"},
		MFA: true, LoggedIn: now.Add(-time.Minute), Issued: now.Add(-time.Minute), Expires: now.Add(time.Hour),
	}
	tickets := newTickets(t, 1)
	text, expires, err := tickets.Issue(caller, now)
	require.NoError(t, err)
	require.Equal(t, now.Add(30*time.Second), expires)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "ana", "nobody reads it on its way")

	opened, id, until, err := newTickets(t, 1).Open(text, expires.Add(-time.Millisecond))
	require.NoError(t, err, "by another process with the key")
	caller.Name, caller.Email = "", ""
	require.Equal(t, caller, opened)
	require.Equal(t, expires, until)
	other, _, err := tickets.Issue(caller, now)
	require.NoError(t, err)
	_, otherID, _, err := tickets.Open(other, now)
	require.NoError(t, err)
	require.NotEqual(t, id, otherID, "each is used by itself")

	for name, refused := range map[string]string{
		"empty": "", "not base64": "!", "cut": text[:len(text)-4], "longer": text + "AAAA", "a token": "eyJhbGciOiJFZERTQSJ9.e30.AA",
		"endless": strings.Repeat("A", 1<<20), "changed": text[:20] + string(text[20]^1) + text[21:],
	} {
		_, _, _, err := tickets.Open(refused, now)
		require.ErrorContains(t, err, "invalid_ticket", name)
	}
	_, _, _, err = tickets.Open(text, expires)
	require.ErrorContains(t, err, "expired")
	_, _, _, err = newTickets(t, 2).Open(text, now)
	require.ErrorContains(t, err, "invalid_ticket", "under another key")
}

// A ticket does not outlive the token that it was asked for with.
func TestATicketEndsWithItsToken(t *testing.T) {
	t.Parallel()
	now := time.Now()
	text, expires, err := newTickets(t, 1).Issue(Caller{Org: "acme", Sub: "ana", Expires: now.Add(2 * time.Second)}, now)
	require.NoError(t, err)
	require.Equal(t, now.Add(2*time.Second).UTC(), expires.UTC())
	_, _, _, err = newTickets(t, 1).Open(text, now.Add(3*time.Second))
	require.ErrorContains(t, err, "invalid_ticket")
}

// Whatever somebody sends as a ticket, it is none.
func FuzzTicket(f *testing.F) {
	tickets, err := NewTickets(make([]byte, 32))
	require.NoError(f, err)
	f.Add("")
	f.Add(strings.Repeat("A", 100))
	f.Fuzz(func(t *testing.T, text string) {
		_, _, _, err := tickets.Open(text, time.Now())
		require.ErrorContains(t, err, "invalid_ticket")
	})
}
