package httpapi

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/commands"
	"github.com/reactdjango-hub/backend/commands/transactions"
	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/ledger"
)

// ledgerPage has the table of states, actions and roles, for people.
const ledgerPage = "../../docs/ledger.md"

// expiresOfStates is when the transactions of the table would expire.
var expiresOfStates = time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)

// expire has the timer's command ask, or do, what it does once the time has come.
func (b *books) expire(id string, dry bool) (commands.Receipt, error) {
	return b.api.send(b.t.Context(), commands.Submission{
		Decider: transactions.ExpireTransaction{ID: uuid.MustParse(id)}, DryRun: dry,
		Meta: domain.Meta{Org: "acme", Actor: domain.Actor{Sub: "system:reactor", Person: "system:reactor"}, Now: expiresOfStates},
	})
}

// inStatus makes a transaction of each status, by Ana, and returns their ids.
func (b *books) inStatus() map[ledger.Status]string {
	b.t.Helper()
	ids := map[ledger.Status]string{}
	for status, actions := range map[ledger.Status][]ledger.Action{
		ledger.StatusDraft: {}, ledger.StatusSubmitted: {ledger.ActionSubmit}, ledger.StatusApproved: {ledger.ActionSubmit, ledger.ActionApprove},
		ledger.StatusPosted: {ledger.ActionPost}, ledger.StatusReversed: {ledger.ActionPost, ledger.ActionReverse},
		ledger.StatusRejected: {ledger.ActionSubmit, ledger.ActionReject}, ledger.StatusVoided: {ledger.ActionVoid}, ledger.StatusExpired: {ledger.ActionExpire},
	} {
		b.as("ana", "admin")
		id := b.done("POST", transactionsPath, b.body("draft", "2026-01-31", "debit 1000 1, credit 4000 1", `,"expires_at":"`+expiresOfStates.Format(time.RFC3339)+`"`)).ID
		for _, action := range actions {
			switch action {
			case ledger.ActionExpire:
				receipt, err := b.expire(id, false)
				require.NoError(b.t, err)
				b.position = receipt.Position
			case ledger.ActionApprove:
				b.as("bob", "approver")
				b.done("POST", transactionsPath+"/"+id+"/approve", "")
			default:
				b.done("POST", transactionsPath+"/"+id+"/"+string(action), "")
			}
		}
		ids[status] = id
	}
	b.as("ana", "admin")
	for status, id := range ids {
		var seen struct{ Status ledger.Status }
		b.read(transactionsPath+"/"+id, &seen)
		require.Equal(b.t, status, seen.Status)
	}
	return ids
}

// would is what a transaction would be after an action of the caller: "forbidden" when the
// caller may not, "" when it is in no status for it.
func (b *books) would(action ledger.Action, id string) string {
	b.t.Helper()
	method, path, body := "POST", transactionsPath+"/"+id+"/"+string(action), ""
	if action == ledger.ActionPatch {
		method, path, body = "PATCH", transactionsPath+"/"+id, `{"description":"changed"}`
	}
	answer := b.call(method, path+"?dry_run=true", body, "Prefer", "return=representation")
	switch answer.Status {
	case 403:
		return answer.expect(403, "forbidden").Code
	case 409:
		answer.expect(409, "invalid_state")
		return ""
	}
	receipt := answer.receipt()
	require.NotEmpty(b.t, receipt.Events, "%s: %s", action, answer.Body)
	if action == ledger.ActionReverse { // the resource is the reversal
		return strings.TrimPrefix(receipt.Events[1].Type, "transaction.")
	}
	var resource struct{ Status string }
	require.NoError(b.t, json.Unmarshal(receipt.Resource, &resource), "%s", answer.Body)
	return resource.Status
}

// wouldExpire is what would is, of the timer.
func (b *books) wouldExpire(id string) string {
	b.t.Helper()
	receipt, err := b.expire(id, true)
	require.NoError(b.t, err)
	if len(receipt.Events) == 0 {
		return ""
	}
	return strings.TrimPrefix(receipt.Events[0].Type, "transaction.")
}

// states is the table as the page has it, made of what is answered to every action in every
// status by every role.
func (b *books) states() string {
	b.t.Helper()
	ids := b.inStatus()
	table := "| action | who (role) |"
	for _, status := range ledger.Statuses() {
		table += " " + string(status) + " |"
	}
	table += "\n|---|---|" + strings.Repeat("---|", len(ledger.Statuses())) + "\n"
	for _, action := range ledger.Actions() {
		who, then := "the timer of `expires_at`", map[ledger.Status]string{}
		if action == ledger.ActionExpire {
			for status, id := range ids {
				then[status] = b.wouldExpire(id)
			}
		} else {
			who, then = b.whoMay(action, ids)
		}
		table += "| " + string(action) + " | " + who + " |"
		for _, status := range ledger.Statuses() {
			require.Equal(b.t, then[status] != "", slices.Contains(action.From(), status), "%s in %s", action, status)
			table += " " + strings.TrimLeft(then[status]+" |", " ")
		}
		table += "\n"
	}
	return table
}

// whoMay asks for an action as everybody, in every status. All who may are answered alike.
func (b *books) whoMay(action ledger.Action, ids map[ledger.Status]string) (who string, then map[ledger.Status]string) {
	b.t.Helper()
	var may []string
	for _, role := range append(commands.Roles(), "") {
		b.as("eva", slices.DeleteFunc([]string{role}, func(r string) bool { return r == "" })...)
		answers := map[ledger.Status]string{}
		for status, id := range ids {
			answers[status] = b.would(action, id)
		}
		if answers[ledger.StatusDraft] == "forbidden" {
			for status, answer := range answers {
				require.Equal(b.t, "forbidden", answer, "%s of %s by %s", action, status, role)
			}
			continue
		}
		if may = append(may, fmt.Sprintf("`%s`", role)); then != nil {
			require.Equal(b.t, then, answers, "%s by %s", action, role)
		}
		then = answers
	}
	return strings.Join(may, ", "), then
}

// The page shows what every action does in every status, and who may ask for it, as all of
// them are answered; -update writes it.
func TestThePageShowsTheStateMachine(t *testing.T) {
	t.Parallel()
	holdsPage(t, "states", smallBooks(t).states())
}

// writingPage is held by who reads the page, and perhaps writes it anew.
var writingPage sync.Mutex

// holdsPage holds a part of the page against what it is to be.
func holdsPage(t *testing.T, part, want string) {
	t.Helper()
	writingPage.Lock()
	defer writingPage.Unlock()
	begin, end := "<!-- "+part+" -->\n", "<!-- /"+part+" -->"
	data, err := os.ReadFile(ledgerPage)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(data), begin)
	require.True(t, found)
	shown, after, found := strings.Cut(rest, end)
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(ledgerPage, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Equal(t, want, shown, "run the test with -update")
}
