package ledger_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/reactdjango-hub/backend/domain/ledger"
)

func TestAmounts(t *testing.T) {
	for text, want := range map[string]int64{"12.34": 1234, "12.3": 1230, "12": 1200, "0.01": 1, "9999999999999999.99": ledger.MaxMinor} {
		minor, fault := ledger.ParseAmount(text, "EUR")
		require.Empty(t, fault, text)
		require.Equal(t, want, minor, text)
	}
	for _, text := range []string{
		"", "1e3", "1,00", "-0", "-1", "+1", "٣", "0.001", " 1", "1 ", "1.", ".5", "01", "00.1", "0x1", "1_000", "1.2.3", "NaN", "Inf", "١٢", "1\u00a0000", "1'000", "½",
	} {
		_, fault := ledger.ParseAmount(text, "EUR")
		require.Equal(t, `must be a decimal string, as "123.45": digits, and behind a point at most 2 for EUR`, fault, "%q", text)
	}
	for text, want := range map[string]string{
		"0":                                     "must be more than zero",
		"0.00":                                  "must be more than zero",
		"10000000000000000":                     "must be at most 9999999999999999.99",
		"99999999999999999999999":               "must be at most 9999999999999999.99",
		"9" + strings.Repeat("0", 1000) + ".00": "must be at most 9999999999999999.99",
	} {
		_, fault := ledger.ParseAmount(text, "EUR")
		require.Equal(t, want, fault, text)
	}
	_, fault := ledger.ParseAmount("1.0", "JPY")
	require.Equal(t, `must be a decimal string, as "12345": digits, JPY has none behind a point`, fault)
	minor, fault := ledger.ParseAmount("1.234", "KWD")
	require.Empty(t, fault)
	require.EqualValues(t, 1234, minor)
}

func TestLeastBalances(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "0.00": 0, "-0.01": -1, "-12": -1200, "-9999999999999999.99": -999_999_999_999_999_999} {
		minor, fault := ledger.ParseLeast(text, "EUR")
		require.Empty(t, fault, text)
		require.Equal(t, want, minor, text)
	}
	const form = `must be 0 or a negative decimal string, as "-123.45": digits, and behind a point at most 2 for EUR, and not below -9999999999999999.99`
	for text, want := range map[string]string{
		"-0": "must be 0, not minus zero", "-0.00": "must be 0, not minus zero", "0.01": "must not be above zero: a new account has nothing on it",
		"--1": form, "- 1": form, "-": form, "": form, "-1.005": form, "-1e3": form, "-10000000000000000": form,
	} {
		_, fault := ledger.ParseLeast(text, "EUR")
		require.Equal(t, want, fault, text)
	}
}

// What is written is read back, in every currency.
func TestAmountsAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		currency := rapid.SampledFrom([]string{"EUR", "JPY", "KWD", "CLF"}).Draw(t, "currency")
		minor := rapid.Int64Range(-ledger.MaxMinor, ledger.MaxMinor).Draw(t, "minor")
		read := ledger.ParseLeast
		if minor > 0 {
			read = ledger.ParseAmount
		}
		back, fault := read(ledger.FormatMinor(minor, currency), currency)
		if fault != "" || back != minor {
			t.Fatalf("%d %s became %s, then %d (%s)", minor, currency, ledger.FormatMinor(minor, currency), back, fault)
		}
	})
}

// Whatever arrives as an amount is refused, or says what it says.
func FuzzAmount(f *testing.F) {
	for _, seed := range []string{"12.34", "1e3", "-0", "٣", "0.001", " 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		minor, fault := ledger.ParseUnsigned(text, "EUR")
		if fault != "" {
			return
		}
		value, ok := new(big.Rat).SetString(text)
		if !ok || value.Cmp(new(big.Rat).SetFrac64(minor, 100)) != 0 {
			t.Fatalf("%q became %d", text, minor)
		}
	})
}

func TestAllocate(t *testing.T) {
	require.Equal(t, []int64{13, 1, 1}, ledger.Allocate(15, []int64{80, 8, 12}))
	require.Equal(t, []int64{34, 33, 33}, ledger.Allocate(100, []int64{1, 1, 1}))
	require.Equal(t, []int64{0, 0}, ledger.Allocate(0, []int64{1, 1}))
	rapid.Check(t, func(t *rapid.T) {
		minor := rapid.Int64Range(0, ledger.MaxMinor).Draw(t, "minor")
		shares := rapid.SliceOfN(rapid.Int64Range(1, 1_000_000_000), 1, 20).Draw(t, "shares")
		var sum, all int64
		parts := ledger.Allocate(minor, shares)
		for _, share := range shares {
			all += share
		}
		for i, part := range parts {
			sum += part
			// Each gets its share rounded down, and at most one more.
			exact := new(big.Rat).Mul(new(big.Rat).SetInt64(minor), big.NewRat(shares[i], all))
			if off := new(big.Rat).Sub(exact, new(big.Rat).SetInt64(part)); off.Cmp(big.NewRat(1, 1)) >= 0 || off.Cmp(big.NewRat(-1, 1)) < 0 {
				t.Fatalf("part %d is %d, exactly %s", i, part, exact)
			}
		}
		if sum != minor {
			t.Fatalf("%d became %d", minor, sum)
		}
	})
}

func TestConvert(t *testing.T) {
	for _, c := range []struct {
		minor    int64
		currency string
		rate     string
		to       string
		want     int64
	}{
		{10000, "USD", "82.42135", "INR", 824214}, // an exact tie
		{10000, "USD", "82.421349", "INR", 824213},
		{100, "EUR", "162.5", "JPY", 163},
		{1000, "JPY", "0.00615", "EUR", 615},
		{1, "EUR", "0.4", "USD", 0},
		{1, "KWD", "3.2505", "USD", 0},
	} {
		rate, ok := ledger.ParseRate(c.rate)
		require.True(t, ok)
		got, ok := ledger.Money{Minor: c.minor, Currency: c.currency}.Convert(rate, c.to)
		require.True(t, ok)
		require.Equal(t, c.want, got, "%+v", c)
	}
	one, ok := ledger.ParseRate("1." + strings.Repeat("0", 22)) // as long as one can be
	require.True(t, ok)
	most, ok := ledger.Money{Minor: ledger.MaxMinor, Currency: "USD"}.Convert(one, "EUR")
	require.True(t, ok)
	require.EqualValues(t, ledger.MaxMinor, most)
	for minor, text := range map[int64]string{
		ledger.MaxMinor: "1.000000000000000001", // one more than can be
		1 << 32:         "4294967296",           // 2 to the 64th, of which the lower bits are none
		1 << 62:         "99999999999",
	} {
		rate, _ := ledger.ParseRate(text)
		_, ok := ledger.Money{Minor: minor, Currency: "USD"}.Convert(rate, "EUR")
		require.False(t, ok, text)
	}
	for _, text := range []string{"", "0", "0.0", "-1", "1e3", "1.", ".1", "1/3", strings.Repeat("1", 25)} {
		_, ok := ledger.ParseRate(text)
		require.False(t, ok, text)
	}
}
