package identity

import (
	"encoding/base64"
	"errors"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/reactdjango-hub/backend/domain"
)

const (
	// maxTokenBytes is far above real tokens (1 to 4 KiB) and below the usual limit
	// on a request's headers.
	maxTokenBytes = 16 << 10
	// maxSkew is how far an issuer's clock may run ahead of ours. Expiry gets none:
	// a token that is said to be good until then is not good afterwards.
	maxSkew = 60 * time.Second
	// maxIdentifierBytes is what OpenID Connect Core, §2, gives `sub`.
	maxIdentifierBytes = 255
	// maxNameBytes bounds what is only for display.
	maxNameBytes = 1024
	// maxListItems bounds roles, groups and the like.
	maxListItems = 256
	// systemPrefix starts the actors of the log that are this program itself; a
	// token must not be able to pose as one.
	systemPrefix = "system:"
)

// SecondFactor is how a token says that the login was confirmed with a second factor: in
// amr, or as the acr that a step-up challenge asks for.
const SecondFactor = "mfa"

// header is what counts in a token's protected header. The fields of type rawJSON
// are refused when present: each would bring a key along, or change how the rest
// is to be read (RFC 8725, §3.10; RFC 7515, §4.1.11).
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`

	Key         rawJSON `json:"jwk"`
	KeyURL      rawJSON `json:"jku"`
	Certificate rawJSON `json:"x5c"`
	CertURL     rawJSON `json:"x5u"`
	Critical    rawJSON `json:"crit"`
	Unencoded   rawJSON `json:"b64"`
	Compression rawJSON `json:"zip"`
}

// rawJSON notes that a member is there, null included.
type rawJSON bool

// UnmarshalJSON implements json.Unmarshaler.
func (r *rawJSON) UnmarshalJSON([]byte) error { *r = true; return nil }

// parseHeader reads what can be known of a token without a key. JSON is read
// strictly: no duplicate members, names in their exact case, UTF-8 throughout.
func parseHeader(token string) (header, error) {
	first, rest, _ := strings.Cut(token, ".")
	payload, signature, found := strings.Cut(rest, ".")
	if !found || first == "" || payload == "" || signature == "" || strings.Contains(signature, ".") {
		return header{}, invalidToken("The token is not a signed JWT: three parts with dots between.")
	}
	var h header
	// Strict: the unused bits of the last character are zero, and there are no line breaks.
	text, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil || strings.ContainsAny(token, "\r\n") || json.Unmarshal(text, &h) != nil {
		return header{}, invalidToken("The token's header cannot be read.")
	}
	switch {
	case bool(h.Key || h.KeyURL || h.Certificate || h.CertURL):
		return header{}, invalidToken("The token's header brings a key along; only keys that the issuer publishes count.")
	case bool(h.Critical || h.Unencoded || h.Compression):
		return header{}, invalidToken("The token's header asks for an extension that is not supported.")
	case !slices.Contains(algorithmNames, h.Algorithm):
		return header{}, invalidToken("The token's algorithm is not accepted; sign it with one of %s.", strings.Join(algorithmNames, ", "))
	case !accessTokenType(h.Type):
		return header{}, invalidToken("The token is of another type than an access token.")
	case len(h.KeyID) > maxIdentifierBytes:
		return header{}, invalidToken("The token's key id is longer than %d bytes.", maxIdentifierBytes)
	}
	return h, nil
}

// accessTokenType accepts what RFC 9068, §4, names, and what came before it.
func accessTokenType(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return typ == "" || typ == "jwt" || typ == "at+jwt"
}

// claims are the token's payload. Contract: §2.
type claims struct {
	Issuer    string       `json:"iss"`
	Audience  audience     `json:"aud"`
	Subject   string       `json:"sub"`
	Expires   *numericDate `json:"exp"`
	NotBefore *numericDate `json:"nbf"`
	IssuedAt  *numericDate `json:"iat"`
	Org       string       `json:"org_id"`
	Person    string       `json:"person_id"`
	Name      string       `json:"name"`
	Email     string       `json:"email"`
	Roles     []string     `json:"roles"`
	Groups    []string     `json:"groups"`
	Methods   []string     `json:"amr"` // RFC 8176
	Class     string       `json:"acr"` // RFC 9470, §6.2
	LoggedIn  *numericDate `json:"auth_time"`
}

// audience is one string or several (RFC 7519, §4.1.3).
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*a = make(audience, 1)
		return json.Unmarshal(data, &(*a)[0])
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// numericDate is seconds since 1970, possibly with a fraction (RFC 7519, §2).
type numericDate float64

// maxNumericDate is the last second that RFC 3339 can write.
const maxNumericDate = 253402300799

func (n numericDate) time() time.Time {
	seconds, fraction := math.Modf(float64(n))
	return time.Unix(int64(seconds), int64(fraction*1e9)).UTC()
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *numericDate) UnmarshalJSON(data []byte) error {
	var f float64
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f < 0 || f > maxNumericDate {
		return errors.New("not a time")
	}
	*n = numericDate(f)
	return nil
}

var orgPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// readClaims checks a payload whose signature is good.
func (v *Verifier) readClaims(payload []byte, now time.Time) (Caller, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Caller{}, invalidToken("The token's claims cannot be read%s.", claimAt(err))
	}
	if err := v.checkValidity(c, now); err != nil {
		return Caller{}, err
	}
	if err := checkIdentity(c); err != nil {
		return Caller{}, err
	}
	caller := Caller{
		Org: c.Org, Sub: c.Subject, Person: c.Person, Name: c.Name, Email: c.Email,
		Roles: c.Roles, Groups: c.Groups,
		MFA: slices.Contains(c.Methods, SecondFactor) || c.Class == SecondFactor, Expires: c.Expires.time(),
	}
	if caller.Person == "" {
		caller.Person = caller.Sub
	}
	caller.Issued = caller.Expires
	if c.IssuedAt != nil {
		caller.Issued = c.IssuedAt.time()
	}
	caller.LoggedIn = caller.Issued
	if c.LoggedIn != nil {
		caller.LoggedIn = c.LoggedIn.time()
	}
	return caller, nil
}

// claimAt names the claim of a wrong type. Only names of our own struct come out:
// other members are skipped unread.
func claimAt(err error) string {
	var wrong *json.SemanticError
	if !errors.As(err, &wrong) || wrong.JSONPointer == "" {
		return ""
	}
	for name := range wrong.JSONPointer.Tokens() {
		return ": " + name + " is not of the right type"
	}
	return ""
}

// checkValidity holds whether the token is for us, and now.
func (v *Verifier) checkValidity(c claims, now time.Time) error {
	latest := now.Add(maxSkew)
	switch {
	case c.Issuer != v.issuer:
		return invalidToken("The token is of another issuer than the one trusted here.")
	case !slices.Contains(c.Audience, v.audience):
		return invalidToken("The token is not for this service: its aud lacks %s.", v.audience)
	case c.Expires == nil:
		return invalidToken("The token has no exp: it must expire.")
	case !now.Before(c.Expires.time()):
		return invalidToken("The token has expired; get a new one.")
	case c.NotBefore != nil && c.NotBefore.time().After(latest):
		return invalidToken("The token is not valid yet (nbf).")
	case c.IssuedAt != nil && c.IssuedAt.time().After(latest):
		return invalidToken("The token was issued in the future (iat): compare the clocks.")
	case c.LoggedIn != nil && c.LoggedIn.time().After(latest):
		return invalidToken("The token is of a login in the future (auth_time): compare the clocks.")
	}
	return nil
}

// checkIdentity holds whether the claims name somebody whom the log can record.
func checkIdentity(c claims) error {
	switch {
	case !orgPattern.MatchString(c.Org):
		return invalidToken("The token's org_id is missing or not 1 to 64 letters, digits, _ or -.")
	case strings.HasPrefix(c.Org, "_"):
		return invalidToken("The token's org_id is reserved: it starts with _.")
	case c.Subject == "":
		return invalidToken("The token has no sub.")
	}
	for _, text := range []struct {
		claim, value string
		most         int
	}{
		{"sub", c.Subject, maxIdentifierBytes},
		{"person_id", c.Person, maxIdentifierBytes},
		{"name", c.Name, maxNameBytes},
		{"email", c.Email, maxNameBytes},
		{"acr", c.Class, maxIdentifierBytes},
	} {
		if !printable(text.value, text.most) {
			return invalidToken("The token's %s is longer than %d bytes or holds control characters.", text.claim, text.most)
		}
	}
	if strings.HasPrefix(c.Subject, systemPrefix) || strings.HasPrefix(c.Person, systemPrefix) {
		return invalidToken("The token names a caller that starts with %s, which this service keeps for itself.", systemPrefix)
	}
	for _, list := range []struct {
		claim string
		items []string
	}{{"roles", c.Roles}, {"groups", c.Groups}, {"amr", c.Methods}, {"aud", c.Audience}} {
		long := func(item string) bool { return item == "" || !printable(item, maxIdentifierBytes) }
		if len(list.items) > maxListItems || slices.ContainsFunc(list.items, long) {
			return invalidToken("The token's %s has more than %d items, or one that is empty, longer than %d bytes or holds control characters.",
				list.claim, maxListItems, maxIdentifierBytes)
		}
	}
	return nil
}

func printable(text string, most int) bool {
	return len(text) <= most && !strings.ContainsFunc(text, domain.UnsafeInName)
}
