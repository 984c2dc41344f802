package ledger_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

const page = "../../docs/ledger.md"

// become says what a transaction is after an action.
var become = map[ledger.Action]string{
	ledger.ActionPatch: "as it was", ledger.ActionSubmit: "submitted", ledger.ActionApprove: "approved, once there are enough", ledger.ActionReject: "rejected",
	ledger.ActionPost: "posted", ledger.ActionVoid: "voided", ledger.ActionReverse: "reversed", ledger.ActionExpire: "expired",
}

// states is the table of states and actions as the page has it.
func states() string {
	text := "| action |"
	for _, status := range ledger.Statuses() {
		text += " " + string(status) + " |"
	}
	text += " then it is |\n|---|" + strings.Repeat("---|", len(ledger.Statuses())+1) + "\n"
	for _, action := range ledger.Actions() {
		text += "| " + string(action) + " |"
		for _, status := range ledger.Statuses() {
			if slices.Contains(action.From(), status) {
				text += " yes |"
			} else {
				text += " |"
			}
		}
		text += " " + become[action] + " |\n"
	}
	return text
}

// The page shows the state machine as it is; -update writes it.
func TestThePageShowsTheStateMachine(t *testing.T) {
	data, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(data), "<!-- states -->\n")
	require.True(t, found)
	shown, after, found := strings.Cut(rest, "<!-- /states -->")
	require.True(t, found)
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(page, []byte(before+"<!-- states -->\n"+states()+"<!-- /states -->"+after), 0o644))
		return
	}
	require.Equal(t, states(), shown, "run the test with -update")
}
