package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/projections"
)

// debits are transactions that take 1.00 each from an account that may not be below zero,
// by the references that they were sent under.
type debits struct {
	*hub
	token         string
	bank, expense string

	mutex sync.Mutex
	// sent are all references, and made those that were acknowledged, with the transaction.
	sent    []string
	made    map[string]string
	refused int
}

func (d *debits) line(account, side, amount string) map[string]string {
	return map[string]string{"account_id": account, "side": side, "amount": amount}
}

// held ends the references of those that are posted in two steps.
const held = "-held"

// debit sends one, and notes what was answered. It reports whether there was an answer.
func (d *debits) debit(ref string) bool {
	d.mutex.Lock()
	d.sent = append(d.sent, ref)
	d.mutex.Unlock()
	action := "post"
	if strings.HasSuffix(ref, held) {
		action = "submit"
	}
	response, body, err := d.do(d.t.Context(), http.MethodPost, "/api/v1/transactions", d.token, nil, map[string]any{
		"date": "2026-01-31", "external_ref": ref, "action": action,
		"lines": []any{d.line(d.expense, "debit", "1.00"), d.line(d.bank, "credit", "1.00")},
	})
	if err != nil {
		return false
	}
	if response.StatusCode == http.StatusConflict {
		d.mutex.Lock()
		defer d.mutex.Unlock()
		d.refused++
		return assert.Contains(d.t, string(body), "insufficient_funds")
	}
	var r receipt
	if response.StatusCode >= 300 || json.Unmarshal(body, &r) != nil {
		return false
	}
	if action == "submit" {
		response, _, err = d.do(d.t.Context(), http.MethodPost, "/api/v1/transactions/"+r.ID+"/post", d.token, nil, nil)
		posted := err == nil && (response.StatusCode < 300 || response.StatusCode == http.StatusConflict) // as it was before
		if !posted {
			return false
		}
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.made[ref] = r.ID
	return true
}

// untilKilled has eight callers send debits, and kills the process in the middle.
func (d *debits) untilKilled(round, enough int) {
	var group sync.WaitGroup
	reached := make(chan struct{})
	var once sync.Once
	before := len(d.sent)
	for caller := range 8 {
		group.Go(func() {
			for n := 0; d.debit(fmt.Sprintf("%d-%d-%d%s", round, caller, n, []string{"", held}[n%2])); n++ {
				d.mutex.Lock()
				sent := len(d.sent) - before
				d.mutex.Unlock()
				if sent >= enough {
					once.Do(func() { close(reached) })
				}
			}
		})
	}
	<-reached
	d.kill()
	group.Wait()
}

// Whatever a process is killed in the middle of, the ledger is right: what was acknowledged is
// there, once; nothing is overdrawn; and the views are what the log says.
func TestTheLedgerOfAProcessThatIsKilled(t *testing.T) {
	t.Parallel()
	const funds = 150
	d := &debits{hub: newDevHub(t).start(), made: map[string]string{}}
	d.token = d.hub.token("acme", "admin")
	open := func(body map[string]any) string {
		account, _ := d.send(http.MethodPost, "/api/v1/accounts", d.token, nil, body)
		return account.ID
	}
	d.bank = open(map[string]any{"code": "1000", "name": "Bank", "kind": "asset", "currency": "EUR", "min_balance": "0"})
	d.expense = open(map[string]any{"code": "6000", "name": "Sundries", "kind": "expense", "currency": "EUR"})
	equity := open(map[string]any{"code": "3000", "name": "Capital", "kind": "equity", "currency": "EUR"})
	d.send(http.MethodPost, "/api/v1/transactions", d.token, nil, map[string]any{"date": "2026-01-01", "action": "post", "lines": []any{
		d.line(d.bank, "debit", fmt.Sprint(funds)), d.line(equity, "credit", fmt.Sprint(funds)),
	}})
	for round, enough := range []int{1, 60, 200} {
		d.untilKilled(round, enough)
		d.start()
		d.token = d.hub.token("acme", "admin")
	}

	// What was not answered is sent again: it was done, or is done now, and never twice.
	acknowledged := len(d.made)
	for _, ref := range d.sent {
		if d.made[ref] == "" {
			require.True(t, d.debit(ref), ref)
		}
	}
	for n := 0; d.refused == 0; n++ {
		require.True(t, d.debit(fmt.Sprint("last-", n)))
	}
	require.Len(t, d.made, funds)
	require.Positive(t, acknowledged)

	position := int64(len(d.replay()))
	var bank struct{ Balance, Available, Pending string }
	require.Equal(t, http.StatusOK, d.get("/api/v1/accounts/"+d.bank, d.token, after(position), &bank))
	assert.Equal(t, []string{"0.00", "0.00", "0.00"}, []string{bank.Balance, bank.Available, bank.Pending}, "the last unit was spent, and no more")
	for ref, id := range d.made {
		var page struct {
			Items []struct{ ID, Status string }
		}
		require.Equal(t, http.StatusOK, d.get("/api/v1/transactions?external_ref="+ref, d.token, after(position), &page))
		require.Len(t, page.Items, 1, ref)
		require.Equal(t, id, page.Items[0].ID)
		require.Equal(t, "posted", page.Items[0].Status, ref)
	}
	d.balances(d.token, position)
	report := listed[projections.LedgerReport](d.hub, "ledger", "verify")
	require.Len(t, report, 1)
	assert.Zero(t, report[0].Count, "%v", report[0].Differences)
	d.command("projections", "verify", "ledger")
}

// balances expects debits to equal credits in the one currency there is.
func (h *hub) balances(token string, position int64) {
	h.t.Helper()
	var sides struct {
		Totals []struct{ Debit, Credit string }
	}
	require.Equal(h.t, http.StatusOK, h.get("/api/v1/transactions/trial-balance", token, after(position), &sides))
	require.Len(h.t, sides.Totals, 1)
	assert.Equal(h.t, sides.Totals[0].Debit, sides.Totals[0].Credit)
}
