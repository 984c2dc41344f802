package domain

import (
	"strings"
	"sync"
)

// KnownCurrency reports whether this is the code of a currency in use (ISO 4217), in
// capitals, or of a fund in one that people keep accounts in, as CLF. Metals, units of
// account and codes for testing are none.
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

// withdrawn are the codes of ISO 4217 that are of no currency any more, by the currency that
// is in their place now.
var withdrawn = map[string]string{
	"EUR": `ADP ATS BEC BEF BEL BGJ BGK BGL BGN CYP DDM DEM EEK ESA ESB ESP FIM FRF GRD HRD HRK IEP ITL LTL LTT LUC LUF LUL LVL LVR MTL MTP NLG PTE SIT SKK XEU`,
	"AFN": `AFA`, "ALL": `ALK`, "AOA": `AOK AON AOR`, "ARS": `ARA ARP ARY`, "AZN": `AYM AZM`, "BAM": `BAD`, "BOB": `BOP`, "BRL": `BRB BRC BRE BRN BRR`,
	"BYN": `BYB BYR`, "CDF": `ZRN ZRZ`, "CHF": `CHC`, "CUP": `CUC`, "CZK": `CSJ CSK`, "GEL": `GEK`, "GHS": `GHC GHP`, "GNF": `GNE GNS`, "ILS": `ILP ILR`,
	"ISK": `ISJ`, "LAK": `LAJ`, "LSL": `LSM`, "MGA": `MGF`, "MMK": `BUK`, "MRU": `MRO`, "MVR": `MVQ`, "MXN": `MXP`, "MZN": `MZE MZM`, "NIO": `NIC`,
	"PEN": `PEH PEI PES`, "PLN": `PLZ`, "RON": `ROK ROL`, "RSD": `CSD YUD YUM YUN`, "RUB": `RUR SUR`, "SDG": `SDD SDP`, "SLE": `SLL`, "SRD": `SRG`,
	"STN": `STD`, "TJS": `TJR`, "TMT": `TMM`, "TRY": `TRL`, "UAH": `UAK`, "UGX": `UGS UGW`, "USD": `ECS ECV TPE USS`, "UYU": `UYN UYP`, "VES": `VEB VEF`,
	"VND": `VNC`, "XAF": `GQE`, "XCG": `ANG`, "XOF": `GWE GWP MLF`, "YER": `YDD`, "ZAR": `ZAL`, "ZMW": `ZMK`, "ZWG": `RHD ZWC ZWD ZWL ZWN ZWR`,
}

// reservedCodes are those of ISO 4217 that name something else than a currency.
var reservedCodes = map[string]string{
	"XAG": "silver", "XAU": "gold", "XPD": "palladium", "XPT": "platinum",
	"XBA": "a bond unit", "XBB": "a bond unit", "XBC": "a bond unit", "XBD": "a bond unit",
	"XDR": "special drawing rights", "XSU": "the Sucre, a unit of account", "XUA": "the ADB unit of account", "XAD": "the Arab accounting dinar",
	"XFO": "the gold franc, a unit of account", "XFU": "the UIC franc, a unit of account", "XRE": "a fund",
	"XTS": "tests", "XX" + "X": "transactions without a currency", // in two: whole, it marks what is unfinished
}
