package ledger

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/reactdjango-hub/backend/domain"
)

// maxMinor bounds every amount and every balance, in minor units: eighteen digits. The
// sum or difference of any two of them fits an int64 with room to spare, so that a
// balance can be checked before it is kept.
const maxMinor = 999_999_999_999_999_999

// Money is an amount in minor units (cents) of a currency. Contract: §3.
type Money struct {
	Minor    int64
	Currency string
}

// String writes the amount with the digits of its currency.
func (m Money) String() string { return FormatMinor(m.Minor, m.Currency) }

// FormatMinor writes an amount of minor units as people do, with a point before the
// digits of the currency.
func FormatMinor(minor int64, currency string) string {
	return Decimal(strconv.FormatInt(minor, 10), domain.CurrencyDigits(currency))
}

// Decimal puts a point before the last digits of a whole number.
func Decimal(whole string, digits int) string {
	if digits == 0 {
		return whole
	}
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	whole = strings.Repeat("0", max(0, digits+1-len(whole))) + whole
	return sign + whole[:len(whole)-digits] + "." + whole[len(whole)-digits:]
}

// parseAmount reads a positive amount. Its second result says what is wrong, "" when
// nothing is.
func parseAmount(text, currency string) (int64, string) {
	minor, fault := parseUnsigned(text, currency)
	if fault == "" && minor == 0 {
		return 0, "must be more than zero"
	}
	return minor, fault
}

// parseLeast reads a least balance: zero, or a negative amount. Its second result is as of
// parseAmount.
func parseLeast(text, currency string) (int64, string) {
	unsigned, negative := strings.CutPrefix(text, "-")
	minor, fault := parseUnsigned(unsigned, currency)
	switch {
	case fault != "":
		return 0, fmt.Sprintf("must be 0 or a negative decimal string, as \"-%s\": digits, %s, and not below -%s",
			FormatMinor(exampleMinor, currency), fractionRule(domain.CurrencyDigits(currency), currency), FormatMinor(maxMinor, currency))
	case negative && minor == 0:
		return 0, "must be 0, not minus zero"
	case !negative && minor > 0:
		return 0, "must not be above zero: a new account has nothing on it"
	}
	return -minor, ""
}

// parseUnsigned reads digits, and behind a point at most as many as the currency has.
// Nothing else: no exponent, no sign, no space, no separator, no digits of other scripts.
func parseUnsigned(text, currency string) (int64, string) {
	digits := domain.CurrencyDigits(currency)
	whole, fraction, point := strings.Cut(text, ".")
	valid := decimalDigits(whole) && (whole == "0" || whole[0] != '0')
	if point {
		valid = valid && decimalDigits(fraction) && len(fraction) <= digits
	}
	if !valid {
		return 0, "must be a decimal string, as \"" + FormatMinor(exampleMinor, currency) + "\": digits, " + fractionRule(digits, currency)
	}
	padded := whole + fraction + strings.Repeat("0", digits-len(fraction))
	minor, err := strconv.ParseInt(padded, 10, 64)
	if err != nil || minor > maxMinor {
		return 0, "must be at most " + FormatMinor(maxMinor, currency)
	}
	return minor, ""
}

// exampleMinor is shown to whoever wrote an amount that cannot be read.
const exampleMinor = 12345

func fractionRule(digits int, currency string) string {
	if digits == 0 {
		return currency + " has none behind a point"
	}
	return fmt.Sprintf("and behind a point at most %d for %s", digits, currency)
}

func decimalDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// readMinor reads what FormatMinor wrote, whatever digits the currency has by now.
func readMinor(text string) (int64, error) {
	return strconv.ParseInt(strings.Replace(text, ".", "", 1), 10, 64)
}

// add is a sum of amounts that stays within the bound on them.
func add(a, b int64) (int64, bool) {
	sum := a + b // of two that are within the bound, it cannot overflow
	return sum, sum <= maxMinor
}

// Allocate splits an amount by shares. Each gets its part rounded down, and the minor
// units that are left go one each to the first: 15 by 80, 8 and 12 is 13, 1 and 1. The
// amount is not negative, and the shares are positive.
func Allocate(minor int64, shares []int64) []int64 {
	total := new(big.Int)
	for _, share := range shares {
		total.Add(total, big.NewInt(share))
	}
	parts, left := make([]int64, len(shares)), minor
	for i, share := range shares {
		part := new(big.Int).Mul(big.NewInt(minor), big.NewInt(share))
		parts[i] = part.Quo(part, total).Int64()
		left -= parts[i]
	}
	for i := range left { // fewer than there are shares: each lost less than one
		parts[i]++
	}
	return parts
}

// Convert is an amount at a rate, in minor units of the other currency, rounded half away
// from zero: 100.00 USD at 82.42135 are 8242.14 INR. It reports false when that is too
// large. The rate is one that parseRate let through.
func (m Money) Convert(rate *big.Rat, currency string) (int64, bool) {
	value := new(big.Rat).Mul(new(big.Rat).SetInt64(m.Minor), rate)
	value.Mul(value, new(big.Rat).SetFrac(power(domain.CurrencyDigits(currency)), power(domain.CurrencyDigits(m.Currency))))
	twice := new(big.Int).Mul(value.Num(), big.NewInt(2))
	twice.Add(twice, value.Denom()) // floor((2n + d) / 2d) is n/d, half away from zero, for n ≥ 0
	rounded := twice.Quo(twice, new(big.Int).Mul(value.Denom(), big.NewInt(2)))
	if !rounded.IsInt64() || rounded.Int64() > maxMinor {
		return 0, false
	}
	return rounded.Int64(), true
}

func power(digits int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
}

// maxRateBytes is more than any rate is quoted with.
const maxRateBytes = 24

// parseRate reads a positive decimal.
func parseRate(text string) (*big.Rat, bool) {
	whole, fraction, point := strings.Cut(text, ".")
	if len(text) > maxRateBytes || !decimalDigits(whole) || point && !decimalDigits(fraction) {
		return nil, false
	}
	rate, _ := new(big.Rat).SetString(text) // digits, perhaps with a point between
	return rate, rate.Sign() > 0
}
