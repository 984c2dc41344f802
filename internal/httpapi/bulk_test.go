package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type bulkAnswer struct {
	Results []struct {
		Index, Status    int
		ID, Code, Detail string
		Errors           []struct{ Location string }
	}
	DryRun bool `json:"dry_run"`
}

// codes are what each item came to: its status, or its code.
func (b bulkAnswer) codes() (codes []string) {
	for i, result := range b.Results {
		if result.Index != i || (result.ID == "") != (result.Status >= 400) {
			codes = append(codes, "out of order")
		}
		if result.Code == "" {
			result.Code = fmt.Sprint(result.Status)
		}
		codes = append(codes, result.Code)
	}
	return codes
}

func (b *books) bulk(query, body string, headers ...string) (bulkAnswer, *reply) {
	b.t.Helper()
	answer := b.call("POST", "/api/v1/transactions/bulk"+query, body, headers...)
	var results bulkAnswer
	if answer.Status == 200 {
		answer.json(&results)
		if at := answer.Header.Get("Hub-Position"); at != "" {
			_, err := fmt.Sscan(at, &b.position)
			require.NoError(b.t, err)
		}
	}
	return results, answer
}

// There is no one version of many.
func TestBulkTakesNoConditions(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	body := "[" + b.body("post", "2026-01-31", "debit 1000 1, credit 4000 1", "") + "]"
	for _, query := range []string{"", "?atomic=true"} {
		for _, condition := range []string{"*", `"1"`} {
			_, answer := b.bulk(query, body, "If-Match", condition)
			answer.expect(400, "invalid_if_match")
		}
		_, answer := b.bulk(query, body, "If-None-Match", "*")
		answer.expect(400, "invalid_if_none_match")
	}
}

// Each item by itself: what can be done is done, and each says what became of it, also when
// the request comes again.
func TestBulkEachByItself(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	item := func(amount, rest string) string {
		return b.body("post", "2026-01-31", "debit 4000 "+amount+", credit 1000 "+amount, rest)
	}
	items := []string{
		item("4.00", `,"external_ref":"a"`), item("1.001", ""), item("100", ""), `{"date":7}`, `nonsense`, item("2.00", ""), item("1.00", `,"private":{"a":1}`),
		strings.Replace(item("1.00", ""), `"1.00"`, `1.00`, 1), item("1.00", `,"on_closed_period":"x"`), item("3.00", ""),
	}
	want := []string{"201", "invalid_amount", "insufficient_funds", "wrong_type", "invalid_json", "201", "invalid_transaction", "invalid_amount", "invalid_request", "201"}
	lines := strings.Join(items, "\n") + "\n\r\n"
	first, answer := b.bulk("", lines, "Content-Type", ndjsonMedia, "Idempotency-Key", "k")
	require.Equal(t, want, first.codes(), "%s", answer.Body)
	require.NotEmpty(t, first.Results[1].Errors)
	b.balances("", "1000=1.00")
	again, answer := b.bulk("", lines, "Content-Type", ndjsonMedia, "Idempotency-Key", "k")
	require.Equal(t, first, again)
	require.Empty(t, answer.Header.Get("Idempotency-Replayed"), "some of it is never kept")
	b.balances("", "1000=1.00")
	b.refused(422, "idempotency_key_reused", "POST", "/api/v1/transactions/bulk", "["+items[0]+"]", "Idempotency-Key", "k")

	// As an array, and the external_ref tells what is there.
	same, _ := b.bulk("", "["+items[0]+","+items[1]+"]")
	require.Equal(t, []string{"200", "invalid_amount"}, same.codes())
	require.Equal(t, first.Results[0].ID, same.Results[0].ID)
	would, _ := b.bulk("?dry_run=true", "["+item("1.00", "")+","+item("1.00", "")+"]")
	require.True(t, would.DryRun)
	require.Equal(t, []string{"200", "200"}, []string{fmt.Sprint(would.Results[0].Status), fmt.Sprint(would.Results[1].Status)})
	b.balances("", "1000=1.00")
}

// All or none, each seeing those before it.
func TestBulkAtomic(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	out := func(amount, rest string) string {
		return b.body("post", "2026-01-31", "debit 4000 "+amount+", credit 1000 "+amount, rest)
	}
	in := b.body("post", "2026-01-31", "debit 1000 7.00, credit 4000 7.00", `,"external_ref":"in"`)
	for body, want := range map[string]string{
		"[" + out("6.00", "") + "," + out("6.00", "") + "]": `409 insufficient_funds "index":1`,
		"[" + in + "," + out("x", "") + "]":                 `422 invalid_amount "index":1`,
		"[" + in + "," + in + "]":                           `409 external_ref_taken "index":1`,
		"[" + in + ",7]":                                    `422 wrong_type "index":1`,
	} {
		_, answer := b.bulk("?atomic=true", body)
		var status int
		var code, index string
		_, err := fmt.Sscan(want, &status, &code, &index)
		require.NoError(t, err)
		answer.expect(status, code)
		require.Contains(t, string(answer.Body), index)
	}
	b.balances("", "1000=10.00")
	body := "[" + in + "," + out("12.00", `,"external_ref":"out"`) + "]"
	made, answer := b.bulk("?atomic=true", body, "Idempotency-Key", "k")
	require.Equal(t, []string{"201", "201"}, made.codes(), "%s", answer.Body)
	require.NotEqual(t, made.Results[0].ID, made.Results[1].ID)
	b.balances("", "1000=5.00")
	var second struct {
		ExternalRef string `json:"external_ref"`
	}
	b.read("/api/v1/transactions/"+made.Results[1].ID, &second)
	require.Equal(t, "out", second.ExternalRef)
	again, answer := b.bulk("?atomic=true", body, "Idempotency-Key", "k")
	require.Equal(t, made, again)
	require.Equal(t, "true", answer.Header.Get("Idempotency-Replayed"))
	// Without the key, the external_refs tell, and with one of its own that is kept, too.
	for _, key := range []string{"", "k2", "k2"} {
		same, _ := b.bulk("?atomic=true", body, "Idempotency-Key", key)
		require.Equal(t, []string{"200", "200"}, same.codes())
		require.Equal(t, made.Results[1].ID, same.Results[1].ID)
	}
	one, _ := b.bulk("?atomic=true", "["+in+"]")
	require.Equal(t, made.Results[0].ID, one.Results[0].ID)
	_, answer = b.bulk("?atomic=true", "["+in+","+out("1.00", "")+"]")
	answer.expect(409, "external_ref_taken")
}

func TestBulksThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	b.refused(400, "invalid_json", "POST", "/api/v1/transactions/bulk", "[")
	b.refused(422, "invalid_request", "POST", "/api/v1/transactions/bulk", "{}")
	b.refused(422, "invalid_request", "POST", "/api/v1/transactions/bulk", "[]")
	b.refused(422, "invalid_request", "POST", "/api/v1/transactions/bulk", "["+strings.Repeat("1,", 5000)+"1]")
	b.refused(415, "unsupported_media_type", "POST", "/api/v1/transactions/bulk", "[]", "Content-Type", "text/csv")
	b.as("vera", "viewer")
	b.refused(403, "forbidden", "POST", "/api/v1/transactions/bulk", "[]")
}

// Items are done in the order of the request, so that what one brings in the next can spend.
func TestBulkInItsOrder(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	in := b.body("post", "2026-01-31", "debit 1000 5.00, credit 4000 5.00", "")
	out := b.body("post", "2026-01-31", "debit 4000 15.00, credit 1000 15.00", "")
	back := b.body("post", "2026-01-31", "debit 1000 10.00, credit 4000 10.00", "")
	const rounds = 200
	made, answer := b.bulk("", "["+strings.Repeat(in+","+out+","+back+",", rounds-1)+in+","+out+","+back+"]")
	for i, code := range made.codes() {
		require.Equal(t, "201", code, "%d: %s", i, answer.Body)
	}
	b.balances("", "1000=10.00")
}

// A key that was used for another request refuses a bulk before any of it is done, and one
// that a bulk has used is used.
func TestBulkWithAKeyThatWasUsed(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	item := b.body("post", "2026-01-31", "debit 1000 1.00, credit 4000 1.00", "")
	const bulk = "/api/v1/transactions/bulk"
	b.bulk("", "["+item+"]", "Idempotency-Key", "bulk")
	b.bulk("", "[7,"+item+"]", "Idempotency-Key", "bad-first")
	b.bulk("?atomic=true", "["+item+"]", "Idempotency-Key", "atomic")
	b.done("POST", "/api/v1/transactions", item, "Idempotency-Key", "single")
	b.balances("", "1000=14.00")
	for _, key := range []string{"bulk", "bad-first", "atomic", "single"} {
		for _, another := range [][2]string{{bulk, "[" + item + "," + item + "]"}, {bulk + "?atomic=true", "[" + item + "," + item + "]"}, {"/api/v1/transactions", item + " "}} {
			b.refused(422, "idempotency_key_reused", "POST", another[0], another[1], "Idempotency-Key", key)
		}
	}
	b.balances("", "1000=14.00")
}

// A thousand in one request, each by itself and together.
func TestABulkOfAThousand(t *testing.T) {
	t.Parallel()
	b := smallBooks(t)
	item := b.body("post", "2026-01-31", "debit 1000 0.01, credit 4000 0.01", "")
	body := "[" + strings.Repeat(item+",", 999) + item + "]"
	for _, query := range []string{"", "?atomic=true"} {
		made, answer := b.bulk(query, body)
		require.Len(t, made.Results, 1000, "%d", answer.Status)
		ids := map[string]bool{}
		for _, result := range made.Results {
			require.Equal(t, 201, result.Status)
			ids[result.ID] = true
		}
		require.Len(t, ids, 1000)
	}
	b.balances("", "1000=30.00")
}
