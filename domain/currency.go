package domain

import (
	"strings"
	"sync"
)

// KnownCurrency reports whether this is the code of a currency in use (ISO 4217), in
// capitals. Funds, metals and codes for testing are none that an account is kept in.
func KnownCurrency(code string) bool {
	_, known := currencyDigits()[code]
	return known
}

// CurrencyDigits is how many decimal digits the amounts of a currency have; 0 for what
// KnownCurrency does not know.
func CurrencyDigits(code string) int { return currencyDigits()[code] }

// CurrencyFault says why nothing is kept in this currency, and what to take instead; ""
// when it is one in use.
func CurrencyFault(code string) string {
	if KnownCurrency(code) {
		return ""
	}
	if next, withdrawn := successors()[code]; withdrawn {
		return "was withdrawn; use " + next
	}
	if meaning, reserved := reservedCodes[code]; reserved {
		return "is the code of " + meaning + ", not of a currency"
	}
	if up := strings.ToUpper(code); up != code && (KnownCurrency(up) || CurrencyFault(up) != unknownCurrency) {
		return "must be written in capitals"
	}
	return unknownCurrency
}

const unknownCurrency = "must be a code of ISO 4217, as EUR"

// currencyDigits is how many decimal digits the amounts of each currency have.
var currencyDigits = sync.OnceValue(func() map[string]int {
	digits := map[string]int{}
	for count, codes := range currencies {
		for code := range strings.FieldsSeq(codes) {
			digits[code] = count
		}
	}
	return digits
})

// currencies are the codes by their number of decimal digits.
var currencies = map[int]string{
	0: `BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF`,
	2: `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
		CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
		GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
		MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
		PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
		TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`,
	3: `BHD IQD JOD KWD LYD OMR TND`,
	4: `CLF UYW`,
}

// successors are what withdrawn currencies became (ISO 4217, list three).
var successors = sync.OnceValue(func() map[string]string {
	next := map[string]string{}
	for currency, codes := range withdrawn {
		for code := range strings.FieldsSeq(codes) {
			next[code] = currency
		}
	}
	return next
})

// withdrawn are codes that people still write, by the currency that took their place.
var withdrawn = map[string]string{
	"EUR": `ATS BEF BGN CYP DEM EEK ESP FIM FRF GRD HRK IEP ITL LTL LUF LVL MTL NLG PTE SIT SKK XEU`,
	"AFN": `AFA`, "AOA": `AON AOR`, "AZN": `AZM`, "BRL": `BRE BRR`, "BYN": `BYB BYR`, "CUP": `CUC`, "GHS": `GHC`,
	"MRU": `MRO`, "MXN": `MXP`, "MZN": `MZM`, "PEN": `PEI`, "PLN": `PLZ`, "RON": `ROL`, "RSD": `CSD YUM`, "RUB": `RUR`,
	"SDG": `SDD SDP`, "SLE": `SLL`, "SRD": `SRG`, "STN": `STD`, "TMT": `TMM`, "TRY": `TRL`, "UAH": `UAK`, "VES": `VEB VEF`,
	"XCG": `ANG`, "ZMW": `ZMK`, "ZWG": `ZWD ZWL ZWN ZWR`,
}

// reservedCodes are those of ISO 4217 that name something else than a currency.
var reservedCodes = map[string]string{
	"XAG": "silver", "XAU": "gold", "XPD": "palladium", "XPT": "platinum",
	"XBA": "a bond unit", "XBB": "a bond unit", "XBC": "a bond unit", "XBD": "a bond unit",
	"XDR": "special drawing rights", "XSU": "the Sucre, a unit of account", "XUA": "the ADB unit of account", "XAD": "the Arab accounting dinar",
	"XTS": "tests",
}
