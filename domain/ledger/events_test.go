package ledger_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

var lineOfTest = ledger.Line{
	AccountID: uuid.MustParse("0190aaaa-0000-7000-8000-000000000001"), Side: ledger.Debit, Amount: ledger.Money{Minor: 85000, Currency: "EUR"},
}

// A line is read the same by hand and by encoding/json, which gets all that is not written
// as lines are: here, by a space.
func TestLinesAreReadAsEncodingJSONReadsThem(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*ledger.Line){
		func(*ledger.Line) {},
		func(l *ledger.Line) { l.Side = ledger.Credit },
		func(l *ledger.Line) { l.Amount = ledger.Money{Minor: 5, Currency: "JPY"} },
		func(l *ledger.Line) { l.Side = `","amount":"` },
		func(l *ledger.Line) {
			l.Exchange = &ledger.Exchange{FromAmount: "1.00", FromCurrency: "USD", Rate: "850"}
		},
	} {
		line := lineOfTest
		change(&line)
		text, err := json.Marshal(line)
		require.NoError(t, err)
		for _, written := range []string{string(text), strings.Replace(string(text), "{", "{ ", 1)} {
			var read ledger.Line
			require.NoError(t, json.Unmarshal([]byte(written), &read))
			require.Equal(t, line, read, written)
		}
	}
	whole, err := json.Marshal(lineOfTest)
	require.NoError(t, err)
	for old, broken := range map[string]string{
		"0190aaaa": "019", "850.00": "850,00", `"amount":"850.00"`: `"amount":850`, `"account_id":"0`: `"account_id":"\u`,
	} {
		text := strings.Replace(string(whole), old, broken, 1)
		require.NotEqual(t, string(whole), text)
		var read ledger.Line
		require.Error(t, json.Unmarshal([]byte(text), &read), text)
	}
}

// What a view and a cold boundary do with each posting.
func BenchmarkReadPosted(b *testing.B) {
	credit := lineOfTest
	credit.Side = ledger.Credit
	moved := ledger.Movement{Lines: []ledger.Line{lineOfTest, credit}}
	text, err := json.Marshal(ledger.Posted{Content: &ledger.Content{Movement: moved}, Movement: moved})
	require.NoError(b, err)
	for _, kind := range ledger.Kinds() {
		if kind.Type != (ledger.Posted{}).EventType() {
			continue
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := kind.Decode(1, text); err != nil {
				b.Fatal(err)
			}
		}
	}
}
