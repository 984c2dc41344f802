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
