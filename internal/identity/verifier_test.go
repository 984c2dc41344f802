package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v3/jwa"

	"github.com/reactdjango-hub/backend/internal/identity"
)

func TestVerifyReadsTheCaller(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []jwa.SignatureAlgorithm{jwa.EdDSA(), jwa.EdDSAEd25519(), jwa.ES256(), jwa.PS256(), jwa.RS256()} {
		key := newSigner(t, "k1", algorithm)
		must(t, key.jwk.Set("alg", algorithm))
		i := newIssuer(t, key)
		v := i.verifier(newClock().Now)
		got := accept(t, v, key.sign(t, i.claims(map[string]any{
			"aud": []string{"other", "hub-backend"}, "person_id": "p-7", "name": "Ana Ñ", "email": "ana@acme.example",
			"roles": []string{"editor", "custom"}, "groups": []string{"sales"}, "amr": []string{"pwd", "mfa"}, "nbf": start.Unix(),
			"auth_time": start.Add(-time.Hour).Unix(),
			"extra":     map[string]any{"ignored": true},
		}), map[string]any{"typ": "at+jwt"}))
		want := identity.Caller{
			Org: "acme", Sub: "ana", Person: "p-7", Name: "Ana Ñ", Email: "ana@acme.example",
			Roles: []string{"editor", "custom"}, Groups: []string{"sales"}, MFA: true, LoggedIn: start.Add(-time.Hour), Issued: start, Expires: start.Add(time.Hour),
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", algorithm, got, want)
		}
	}
}

func TestVerifyNeedsLittle(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "", jwa.EdDSA()) // no key id, and no choice
	i := newIssuer(t, key)
	v := i.verifier(newClock().Now)
	got := accept(t, v, key.sign(t, i.claims(map[string]any{"roles": nil, "iat": nil, "exp": float64(start.Unix()) + 0.5}), nil))
	if got.Person != "ana" || got.MFA || len(got.Roles) != 0 || !got.Expires.Equal(start.Add(500*time.Millisecond)) {
		t.Errorf("got %+v", got)
	}
	if !got.Issued.Equal(got.Expires) || !got.LoggedIn.Equal(got.Issued) {
		t.Errorf("issued %v, logged in %v: of a token without iat it is when it expires", got.Issued, got.LoggedIn)
	}
}

// A second factor is told of in amr, or as the acr that the challenge asks for.
func TestVerifyReadsHowStrongTheLoginWas(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1", jwa.EdDSA())
	i := newIssuer(t, key)
	v := i.verifier(newClock().Now)
	for name, test := range map[string]struct {
		claims map[string]any
		mfa    bool
	}{
		"nothing":      {nil, false},
		"a password":   {map[string]any{"amr": []string{"pwd"}}, false},
		"amr":          {map[string]any{"amr": []string{"otp", "mfa"}}, true},
		"acr":          {map[string]any{"acr": "mfa"}, true},
		"another acr":  {map[string]any{"acr": "urn:mace:incommon:iap:silver", "amr": []string{"pwd"}}, false},
		"another case": {map[string]any{"acr": "MFA", "amr": []string{"MFA"}}, false},
	} {
		if got := accept(t, v, key.sign(t, i.claims(test.claims), nil)); got.MFA != test.mfa {
			t.Errorf("%s: %v", name, got.MFA)
		}
	}
}

// One Ed25519 key goes by both names of its algorithm, whichever it is published under.
func TestEd25519HasTwoNames(t *testing.T) {
	t.Parallel()
	for _, declared := range []any{nil, jwa.EdDSA(), jwa.EdDSAEd25519()} {
		key := newSigner(t, "k1", jwa.EdDSA())
		if declared != nil {
			must(t, key.jwk.Set("alg", declared))
		}
		i := newIssuer(t, key)
		v := i.verifier(newClock().Now)
		for _, name := range []string{"EdDSA", "Ed25519"} {
			accept(t, v, signRaw(t, key, `{"alg":"`+name+`","kid":"k1"}`, i.claims(nil)))
		}
	}
}

// Each token is told of when it is verified, not whenever it is used, and none that is
// refused.
func TestVerifiedCallersAreToldOf(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1", jwa.EdDSA())
	i, clock := newIssuer(t, key), newClock()
	var told []string
	v := identity.NewVerifier(identity.Options{
		URL: i.server.URL, Audience: "hub-backend", Now: clock.Now, Verified: func(c identity.Caller) { told = append(told, c.Sub) },
	})
	ana, bob := key.sign(t, i.claims(nil), nil), key.sign(t, i.claims(map[string]any{"sub": "bob"}), nil)
	accept(t, v, ana)
	accept(t, v, ana)
	accept(t, v, bob)
	if _, err := v.Verify(t.Context(), key.sign(t, i.claims(map[string]any{"aud": "other"}), nil)); err == nil {
		t.Error("a token for somebody else is accepted")
	}
	clock.advance(time.Minute)
	accept(t, v, ana)
	if want := []string{"ana", "bob", "ana"}; !reflect.DeepEqual(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
}

func TestVerifyRefusesClaims(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1", jwa.EdDSA())
	i := newIssuer(t, key)
	v := i.verifier(newClock().Now)
	long := strings.Repeat("x", 256)
	for name, changes := range map[string]map[string]any{
		"no iss":                {"iss": nil},
		"other iss":             {"iss": "https://evil.example"},
		"iss with a slash":      {"iss": i.server.URL + "/"},
		"no aud":                {"aud": nil},
		"other aud":             {"aud": "hub-frontend"},
		"other auds":            {"aud": []string{"a", "b"}},
		"aud of a wrong type":   {"aud": 7},
		"aud with a number":     {"aud": []any{"hub-backend", 7}},
		"no exp":                {"exp": nil},
		"exp as text":           {"exp": "1900000000"},
		"exp beyond time":       {"exp": 1e300},
		"negative exp":          {"exp": -1},
		"expired":               {"exp": start.Add(-time.Second).Unix()},
		"expires now":           {"exp": start.Unix()},
		"nbf too far":           {"nbf": start.Add(61 * time.Second).Unix()},
		"auth_time too far":     {"auth_time": start.Add(61 * time.Second).Unix()},
		"auth_time as text":     {"auth_time": "now"},
		"acr as a list":         {"acr": []string{"mfa"}},
		"long acr":              {"acr": long},
		"iat too far":           {"iat": start.Add(61 * time.Second).Unix()},
		"nbf of a wrong type":   {"nbf": true},
		"no org":                {"org_id": nil},
		"empty org":             {"org_id": ""},
		"long org":              {"org_id": strings.Repeat("x", 65)},
		"org with a dot":        {"org_id": "a.b"},
		"org with a line feed":  {"org_id": "acme\n"},
		"org with letters":      {"org_id": "añb"},
		"reserved org":          {"org_id": "_hub"},
		"org of a wrong type":   {"org_id": 1},
		"no sub":                {"sub": nil},
		"empty sub":             {"sub": ""},
		"long sub":              {"sub": long},
		"sub with NUL":          {"sub": "a\x00b"},
		"sub with a line feed":  {"sub": "a\nb"},
		"sub of the system":     {"sub": "system:relay"},
		"person of the system":  {"person_id": "system:relay"},
		"long person":           {"person_id": long},
		"person with NUL":       {"person_id": "\x00"},
		"name with NUL":         {"name": "\x00"},
		"long email":            {"email": strings.Repeat("x", 1025)},
		"roles as text":         {"roles": "admin"},
		"role with NUL":         {"roles": []string{"a\x00"}},
		"role as number":        {"roles": []any{"editor", 1}},
		"role that is null":     {"roles": []any{nil}},
		"too many roles":        {"roles": strings.Split(strings.Repeat("x,", 257), ",")},
		"long group":            {"groups": []string{long}},
		"groups as an object":   {"groups": map[string]any{}},
		"amr as text":           {"amr": "mfa"},
		"name of a wrong type":  {"name": []string{"Ana"}},
		"name in another case":  {"sub": nil, "Sub": "ana"},
		"exp in another case":   {"exp": nil, "EXP": start.Add(time.Hour).Unix()},
		"aud that contains it":  {"aud": "hub-backend-2"},
		"audience in one text":  {"aud": "a hub-backend"},
		"exp that is no number": {"exp": map[string]any{}},
	} {
		p := refuseToken(t, v, key.sign(t, i.claims(changes), nil))
		if strings.Contains(p.Detail, "evil") || strings.Contains(p.Detail, long) || p.Detail == "" {
			t.Errorf("%s: detail %q", name, p.Detail)
		}
	}
	accept(t, v, key.sign(t, i.claims(map[string]any{"nbf": start.Add(time.Minute).Unix(), "iat": start.Add(time.Minute).Unix()}), nil))
	accept(t, v, key.sign(t, i.claims(map[string]any{"org_id": strings.Repeat("Z", 64), "sub": strings.Repeat("x", 255), "person_id": nil}), nil))
}

func TestVerifyReadsClaimsStrictly(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1", jwa.EdDSA())
	i := newIssuer(t, key)
	v := i.verifier(newClock().Now)
	good, err := json.Marshal(i.claims(nil))
	must(t, err)
	body := strings.TrimSuffix(string(good), "}")
	accept(t, v, key.signBytes(t, good, nil))
	for name, payload := range map[string]string{
		"not JSON":                "hello",
		"not an object":           `["ana"]`,
		"null":                    "null",
		"cut off":                 body,
		"more after it":           string(good) + "{}",
		"a claim twice":           body + `,"sub":"eve"}`,
		"an unknown member twice": body + `,"x":1,"x":2}`,
		"not UTF-8":               body + ",\"name\":\"\xff\"}",
		"half a surrogate pair":   body + `,"person_id":"\ud800"}`,
		"deep":                    body + `,"x":` + strings.Repeat("[", 10_100) + strings.Repeat("]", 10_100) + "}",
	} {
		if caller, err := v.Verify(t.Context(), key.signBytes(t, []byte(payload), nil)); err == nil {
			t.Errorf("%s: accepted as %+v", name, caller)
		}
	}
}

func TestVerifyRefusesForgedTokens(t *testing.T) {
	t.Parallel()
	ed, ec, rs := newSigner(t, "ed", jwa.EdDSA()), newSigner(t, "ec", jwa.ES256()), newSigner(t, "rs", jwa.RS256())
	i := newIssuer(t, ed, ec, rs)
	v := i.verifier(newClock().Now)
	claims := i.claims(nil)
	payload, err := json.Marshal(claims)
	must(t, err)
	good := ed.sign(t, claims, nil)
	accept(t, v, good)
	part := strings.Split(good, ".")

	rsaPublic := rs.private.(*rsa.PrivateKey).Public()
	spki, err := x509.MarshalPKIXPublicKey(rsaPublic)
	must(t, err)
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	edPublic, err := json.Marshal(ed.jwk)
	must(t, err)
	stranger := newSigner(t, "ed", jwa.EdDSA())
	strangerKey, err := json.Marshal(stranger.jwk)
	must(t, err)

	for name, token := range map[string]string{
		"empty":                    "",
		"a word":                   "token",
		"two parts":                part[0] + "." + part[1],
		"no signature":             part[0] + "." + part[1] + ".",
		"four parts":               good + ".x",
		"five parts, as encrypted": good + ".x.y",
		"a line feed":              part[0] + "." + part[1][:8] + "\n" + part[1][8:] + "." + part[2],
		"padding":                  good + "=",
		"200 kB":                   strings.Repeat("x", 200_000),
		"just too long":            good + strings.Repeat("A", 16<<10),
		"alg none":                 encode([]byte(`{"alg":"none"}`)) + "." + part[1] + ".",
		"alg none, signed":         encode([]byte(`{"alg":"none","kid":"ed"}`)) + "." + part[1] + "." + part[2],
		"alg nOnE":                 encode([]byte(`{"alg":"nOnE","kid":"ed"}`)) + "." + part[1] + "." + part[2],
		"no alg":                   encode([]byte(`{"kid":"ed"}`)) + "." + part[1] + "." + part[2],
		"alg of a wrong type":      encode([]byte(`{"alg":["EdDSA"],"kid":"ed"}`)) + "." + part[1] + "." + part[2],
		"HMAC with the RSA key":    signHMAC(t, pemKey, `{"alg":"HS256","kid":"rs"}`, claims),
		"HMAC with the DER key":    signHMAC(t, spki, `{"alg":"HS256","kid":"rs"}`, claims),
		"HMAC with the JWK":        signHMAC(t, edPublic, `{"alg":"HS256","kid":"ed"}`, claims),
		"HMAC called RS256":        signHMAC(t, pemKey, `{"alg":"RS256","kid":"rs"}`, claims),
		"HMAC of 384 bits":         signHMAC(t, pemKey, `{"alg":"HS384","kid":"rs"}`, claims),
		"HMAC without a kid":       signHMAC(t, pemKey, `{"alg":"HS256"}`, claims),
		"RS256 that signs nothing": encode([]byte(`{"alg":"RS256","kid":"rs"}`)) + "." + part[1] + "." + encode(make([]byte, 256)),
		"ES256 of zeros":           encode([]byte(`{"alg":"ES256","kid":"ec"}`)) + "." + part[1] + "." + encode(make([]byte, 64)),
		"ES256 as ASN.1":           asn1Signature(t, ec, `{"alg":"ES256","kid":"ec"}`, string(payload)),
		"a token in a token":       signBoth(t, ed, `{"alg":"EdDSA","kid":"ed","cty":"JWT"}`, good),
		"an encrypted one":         encode([]byte(`{"alg":"RSA-OAEP","enc":"A128GCM","zip":"DEF"}`)) + ".a.b.c.d",
		"alg dir":                  encode([]byte(`{"alg":"dir","enc":"A128GCM"}`)) + "." + part[1] + "." + part[2],
		"PS256":                    signer{"rs", jwa.PS256(), rs.private, rs.jwk}.sign(t, claims, nil),
		"RS512":                    signer{"rs", jwa.RS512(), rs.private, rs.jwk}.sign(t, claims, nil),
		"EdDSA under an RSA key":   signRaw(t, ed, `{"alg":"EdDSA","kid":"rs"}`, claims),
		"called ES256":             signRaw(t, ed, `{"alg":"ES256","kid":"ed"}`, claims),
		"another key":              stranger.sign(t, claims, nil),
		"embedded key":             signRaw(t, stranger, `{"alg":"EdDSA","kid":"ed","jwk":`+string(strangerKey)+`}`, claims),
		"embedded good key":        signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","jwk":`+string(edPublic)+`}`, claims),
		"key by URL":               signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","jku":"http://127.0.0.1/"}`, claims),
		"certificate":              signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","x5c":["MA=="]}`, claims),
		"certificate by URL":       signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","x5u":"http://127.0.0.1/"}`, claims),
		"crit":                     signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":1}`, claims),
		"crit null":                signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","crit":null}`, claims),
		"unencoded":                signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","b64":false}`, claims),
		"compressed":               signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","zip":"DEF"}`, claims),
		"alg twice":                signRaw(t, ed, `{"alg":"none","alg":"EdDSA","kid":"ed"}`, claims),
		"header not an object":     signRaw(t, ed, `"EdDSA"`, claims),
		"header with more":         signRaw(t, ed, `{"alg":"EdDSA","kid":"ed"} x`, claims),
		"a logout token":           signRaw(t, ed, `{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}`, claims),
		"no kid, several keys":     signRaw(t, ed, `{"alg":"EdDSA"}`, claims),
		"long kid":                 signRaw(t, ed, `{"alg":"EdDSA","kid":"`+strings.Repeat("x", 256)+`"}`, claims),
		"kid of a wrong type":      signRaw(t, ed, `{"alg":"EdDSA","kid":7}`, claims),
		"other payload":            part[0] + "." + encode([]byte(strings.Replace(string(payload), "acme", "evil", 1))) + "." + part[2],
		"other signature":          part[0] + "." + part[1] + "." + encode(make([]byte, 64)),
		"short signature":          part[0] + "." + part[1] + "." + encode(make([]byte, 3)),
		"no base64":                part[0] + "." + part[1] + ".***",
		"header no base64":         "***." + part[1] + "." + part[2],
	} {
		p := refuseToken(t, v, token)
		if strings.Contains(p.Detail, "evil") || len(p.Detail) > 200 {
			t.Errorf("%s: detail %q", name, p.Detail)
		}
	}
	for _, key := range []signer{ed, ec, rs} {
		accept(t, v, key.sign(t, claims, map[string]any{"typ": "JWT"}))
	}
}

func TestKeysThatAreNotUsed(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	good := newSigner(t, "good", jwa.EdDSA())
	forEncryption, otherAlgorithm := newSigner(t, "enc", jwa.EdDSA()), newSigner(t, "ps", jwa.RS256())
	must(t, forEncryption.jwk.Set("use", "enc"))
	must(t, otherAlgorithm.jwk.Set("alg", jwa.RS512()))
	forDerivation, forPSS, forRS := newSigner(t, "ops", jwa.EdDSA()), newSigner(t, "pss", jwa.RS256()), newSigner(t, "rs", jwa.PS256())
	must(t, forDerivation.jwk.Set("key_ops", []string{"deriveKey"}))
	must(t, forPSS.jwk.Set("alg", jwa.PS256()))
	must(t, forRS.jwk.Set("alg", jwa.RS256()))
	misnamed := newSigner(t, "misnamed", jwa.EdDSA())
	must(t, misnamed.jwk.Set("alg", jwa.ES256()))
	curve := newSigner(t, "p384", jwa.ES384())
	private := newSigner(t, "private", jwa.EdDSA())

	i := newIssuer(t, forEncryption, otherAlgorithm, curve, forDerivation, forPSS, forRS, misnamed, good)
	i.change(func(i *issuer) {
		secret := encode(private.private.(interface{ Seed() []byte }).Seed())
		document, err := json.Marshal(private.jwk)
		must(t, err)
		published := map[string]any{}
		must(t, json.Unmarshal(document, &published))
		published["d"] = secret
		i.published = append(i.published, published, map[string]any{"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
			map[string]any{"kty": "quantum", "kid": "q"},
			map[string]any{"kty": "RSA", "kid": "one", "n": encode(big2048()), "e": "AQ"},
			map[string]any{"kty": "RSA", "kid": "weak", "n": encode(weak.N.Bytes()), "e": "AQAB"}, map[string]any{}, nil, "text",
			map[string]any{"kty": "EC", "crv": "P-256", "kid": "off", "x": encode(make([]byte, 32)), "y": encode(make([]byte, 32))})
	})
	v := i.verifier(newClock().Now)
	accept(t, v, good.sign(t, i.claims(nil), nil))
	for _, key := range []signer{forEncryption, otherAlgorithm, curve, private, forDerivation, forPSS, forRS, misnamed} {
		refuseToken(t, v, key.sign(t, i.claims(nil), nil))
	}
	forPSS.algorithm, forRS.algorithm = jwa.PS256(), jwa.RS256()
	accept(t, v, forPSS.sign(t, i.claims(nil), nil))
	accept(t, v, forRS.sign(t, i.claims(nil), nil))
	refuseToken(t, v, signRaw(t, good, `{"alg":"RS256","kid":"weak"}`, i.claims(nil)))
	refuseToken(t, v, encode([]byte(`{"alg":"RS256","kid":"one"}`))+"."+encode([]byte("{}"))+"."+encode(make([]byte, 256)))
	refuseToken(t, v, signHMAC(t, []byte("secret"), `{"alg":"HS256","kid":"oct"}`, i.claims(nil)))
	if i.fetched() > 1+5 {
		t.Errorf("%d fetches", i.fetched())
	}
}

func TestVerifiedTokensStillExpire(t *testing.T) {
	t.Parallel()
	key, c := newSigner(t, "k1", jwa.EdDSA()), newClock()
	i := newIssuer(t, key)
	v := i.verifier(c.Now)
	token := key.sign(t, i.claims(map[string]any{"exp": start.Add(20 * time.Second).Unix()}), nil)
	accept(t, v, token)
	c.advance(19 * time.Second)
	accept(t, v, token)
	c.advance(time.Second)
	refuseToken(t, v, token)
}

// big2048 is a modulus whose key says that a signature is its own proof (e = 1).
func big2048() []byte {
	return bytes.Repeat([]byte{0xa5}, 256)
}

// asn1Signature signs as X.509 does, which JWS does not take (RFC 7518, §3.4).
func asn1Signature(t testing.TB, s signer, header, payload string) string {
	t.Helper()
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	signature, err := ecdsa.SignASN1(rand.Reader, s.private.(*ecdsa.PrivateKey), digest[:])
	must(t, err)
	return input + "." + encode(signature)
}

// FuzzVerify signs whatever comes with the right key, so that the fuzzer gets past the
// signature.
func FuzzVerify(f *testing.F) {
	key := newSigner(f, "k1", jwa.EdDSA())
	i := newIssuer(f, key)
	v := i.verifier(newClock().Now)
	good, err := json.Marshal(i.claims(map[string]any{"nbf": start.Unix(), "amr": []string{"mfa"}, "groups": []string{"g"}, "person_id": "p"}))
	must(f, err)
	for _, header := range []string{
		`{"alg":"EdDSA","kid":"k1"}`, `{"alg":"EdDSA"}`, `{"alg":"Ed25519","kid":"k1","typ":"at+jwt"}`, `{"alg":"none","kid":"k1"}`,
		`{"alg":"EdDSA","kid":"k1","crit":[]}`, `{"alg":"EdDSA","kid":"k1","alg":"none"}`, `{"alg":"EdDSA","kid":null}`,
	} {
		f.Add(header, string(good))
	}
	for _, change := range [][2]string{
		{`"hub-backend"`, `["hub-backend"]`}, {`"acme"`, `"_hub"`}, {`"acme"`, `"\u0000"`}, {`"ana"`, `"system:relay"`}, {`"ana"`, `"\ud800"`},
		{`"mfa"`, `"mfa","mfa"`}, {`"sub"`, `"sub":"a","sub"`}, {`"exp":`, `"exp":1e`}, {`"exp":`, `"exp":-`}, {`{`, `{"auth_time":0.5,"acr":"mfa",`}, {`{`, `[{`},
	} {
		f.Add(`{"alg":"EdDSA","kid":"k1","typ":"JWT"}`, strings.Replace(string(good), change[0], change[1], 1))
	}
	f.Fuzz(func(t *testing.T, head, payload string) {
		caller, err := v.Verify(t.Context(), signBoth(t, key, head, payload))
		if err != nil {
			return
		}
		texts := slices.Concat([]string{caller.Sub, caller.Person, caller.Name, caller.Email}, caller.Roles, caller.Groups)
		if caller.Org == "" || caller.Org[0] == '_' || len(caller.Org) > 64 || caller.Sub == "" || caller.Person == "" || !caller.Expires.After(start) ||
			strings.HasPrefix(caller.Sub, "system:") || strings.HasPrefix(caller.Person, "system:") ||
			strings.ContainsAny(strings.Join(texts, ""), "\x00\n") || !utf8.ValidString(strings.Join(texts, "")) ||
			len(caller.Roles) > 256 || len(caller.Groups) > 256 || caller.Expires.Unix() > math.MaxInt32*128 {
			t.Errorf("accepted %+v", caller)
		}
	})
}

// FuzzToken is for the text itself: nothing that nobody signed is accepted.
func FuzzToken(f *testing.F) {
	key, stranger := newSigner(f, "k1", jwa.EdDSA()), newSigner(f, "k1", jwa.EdDSA())
	i := newIssuer(f, key)
	v := i.verifier(newClock().Now)
	for _, seed := range []string{
		"", ".", "..", "a.b.c", "a.b.c.d.e", "e30.e30.e30", encode([]byte(`{"alg":"none"}`)) + ".e30.",
		stranger.sign(f, i.claims(nil), nil), signHMAC(f, []byte("x"), `{"alg":"HS256","kid":"k1"}`, i.claims(nil)),
		strings.Repeat("x", 17_000), "\n.\r.\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if caller, err := v.Verify(t.Context(), token); err == nil {
			t.Errorf("accepted as %+v", caller)
		}
	})
}

// FuzzKeys reads what an issuer might publish: no key comes out that is not public, for
// signatures and strong enough.
func FuzzKeys(f *testing.F) {
	for _, algorithm := range []jwa.SignatureAlgorithm{jwa.EdDSA(), jwa.ES256(), jwa.RS256(), jwa.ES384()} {
		document, err := json.Marshal(map[string]any{"keys": []any{newSigner(f, "k1", algorithm).jwk}})
		must(f, err)
		f.Add(document)
	}
	for _, seed := range []string{
		`{}`, `{"keys":null}`, `{"keys":[]}`, `{"keys":[{}]}`, `[]`, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
		`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQ"}]}`, `{"keys":[{"kty":"RSA","n":"` + encode(big2048()) + `","e":"AQ"}]}`, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"","d":""}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","alg":"ES256","use":"sig"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		for _, key := range identity.PublicKeys(document) {
			switch public := key.(type) {
			case ed25519.PublicKey:
				if len(public) != ed25519.PublicKeySize {
					t.Errorf("an Ed25519 key of %d bytes", len(public))
				}
			case *ecdsa.PublicKey:
				if _, err := public.ECDH(); err != nil || public.Curve != elliptic.P256() {
					t.Errorf("a point that is not on P-256: %v", err)
				}
			case *rsa.PublicKey:
				if public.N.BitLen() < 2048 || public.N.BitLen() > 8192 || public.E < 3 || public.E%2 == 0 {
					t.Errorf("a weak RSA key: %d bits, e = %d", public.N.BitLen(), public.E)
				}
			default:
				t.Errorf("a key of type %T", key)
			}
		}
	})
}
