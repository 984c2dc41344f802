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
		func(l *ledger.Line) { l.Amount.Currency = `"` },
		func(l *ledger.Line) { l.Side, l.Amount.Currency = `"`, `"` },
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
	// What could be written otherwise is what it says.
	for _, change := range [][2]string{{`"EUR"`, `"\u0045UR"`}, {`"debit"`, `"\u0064ebit"`}} {
		var read ledger.Line
		require.NoError(t, json.Unmarshal([]byte(strings.Replace(string(whole), change[0], change[1], 1)), &read))
		require.Equal(t, lineOfTest, read)
	}
	for old, broken := range map[string]string{
		"0190aaaa": "019", "850.00": "850,00", "50.00": "50.0.0", `"amount":"850.00"`: `"amount":850`, `"account_id":"0`: `"account_id":"\u`,
	} {
		text := strings.Replace(string(whole), old, broken, 1)
		require.NotEqual(t, string(whole), text)
		var read ledger.Line
		require.Error(t, json.Unmarshal([]byte(text), &read), text)
	}
}

// By hand costs less: it is what most of the time is spent on that reading a log takes.
func TestLinesAreReadByHand(t *testing.T) {
	text, err := json.Marshal(lineOfTest)
	require.NoError(t, err)
	read := func(text string) float64 {
		return testing.AllocsPerRun(100, func() {
			if err := new(ledger.Line).UnmarshalJSON([]byte(text)); err != nil {
				t.Fatal(err)
			}
		})
	}
	require.Less(t, read(string(text)), read(strings.Replace(string(text), "{", "{ ", 1)))
	write := func(line ledger.Line) float64 {
		return testing.AllocsPerRun(100, func() {
			if _, err := line.MarshalJSON(); err != nil {
				t.Fatal(err)
			}
		})
	}
	converted := lineOfTest
	converted.Exchange = &ledger.Exchange{}
	require.Less(t, write(lineOfTest), write(converted))
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
