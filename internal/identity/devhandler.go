package identity

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/reactdjango-hub/backend/domain/problem"
	"github.com/reactdjango-hub/backend/internal/strictjson"
)

const (
	// maxTokenRequestBytes fits whatever yields a token that is accepted.
	maxTokenRequestBytes = maxTokenBytes
	defaultTTLSeconds    = 60 * 60
	maxTTLSeconds        = 24 * 60 * 60
)

// TokenRequest asks the development issuer for a token.
type TokenRequest struct {
	Sub    string   `json:"sub"`
	Org    string   `json:"org_id"`
	Roles  []string `json:"roles,omitempty"`
	Groups []string `json:"groups,omitempty"`
	Person string   `json:"person_id,omitempty"`
	Name   string   `json:"name,omitempty"`
	Email  string   `json:"email,omitempty"`
	MFA    bool     `json:"mfa,omitempty"`
	// TTLSeconds is how long the token is good: an hour when zero, a day at most.
	TTLSeconds int64 `json:"ttl_seconds,omitempty"`
}

// TokenResponse is the answer (RFC 6749, §5.1).
type TokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// developmentMark is what the discovery document of a development issuer has, so that
// whoever must not trust one can tell.
const developmentMark = "hub_development_issuer"

// Handler serves discovery, the key set and POST /token, under the host names that
// allowed accepts; nil accepts any. A page of another site, whose name somebody points at
// this machine, would otherwise be of this site to a browser, and could ask for tokens.
func (d *DevIssuer) Handler(allowed func(host string) bool) http.Handler {
	mux := d.routes()
	refused := answer("", func(*http.Request) (any, error) {
		return nil, problem.New(problem.Malformed, "host_not_allowed", "The development issuer does not answer under the host name of the request.")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if allowed != nil && !allowed(r.Host) {
			refused.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (d *DevIssuer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(discoveryPath, answer(http.MethodGet, d.discovery))
	mux.Handle("/jwks", answer(http.MethodGet, d.jwks))
	mux.Handle("/token", answer(http.MethodPost, d.postToken))
	mux.Handle("/", answer("", func(*http.Request) (any, error) {
		return nil, problem.New(problem.NotFound, "not_found", "There are %s, /jwks and /token here.", discoveryPath)
	}))
	return mux
}

// answer turns a function into a handler of one method; "" is any.
func answer(method string, handle func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var (
			body any
			err  error
		)
		if method == "" || r.Method == method || (method == http.MethodGet && r.Method == http.MethodHead) {
			r.Body = http.MaxBytesReader(w, r.Body, maxTokenRequestBytes)
			body, err = handle(r)
		} else {
			w.Header().Set("Allow", strings.Replace(method, http.MethodGet, "GET, HEAD", 1))
			err = problem.New(problem.MethodNotAllowed, "method_not_allowed", "Use %s here.", method)
		}
		status, mediaType := http.StatusOK, "application/json"
		if err != nil {
			status, body = problemDocument(err)
			mediaType = "application/problem+json"
		}
		text, err := json.Marshal(body)
		if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Cache-Control", "no-store") // tokens, and keys that may rotate any time
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_, _ = w.Write(append(text, '\n')) // the caller is gone, nothing to tell
	})
}

// problemDocument is the error's status and RFC 9457 document. The issuer stands
// for another service, so it has its own small table.
func problemDocument(err error) (int, any) {
	p := problem.Of(err)
	if p == nil {
		p = problem.New(problem.Internal, "internal", "The token could not be made.")
	}
	status := map[problem.Kind]int{
		problem.Malformed:        http.StatusBadRequest,
		problem.NotFound:         http.StatusNotFound,
		problem.MethodNotAllowed: http.StatusMethodNotAllowed,
		problem.TooLarge:         http.StatusRequestEntityTooLarge,
		problem.UnsupportedMedia: http.StatusUnsupportedMediaType,
		problem.Invalid:          http.StatusUnprocessableEntity,
	}[p.Kind]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	return status, struct {
		Type   string          `json:"type"`
		Title  string          `json:"title"`
		Status int             `json:"status"`
		Detail string          `json:"detail"`
		Code   string          `json:"code"`
		Errors []problem.Field `json:"errors,omitempty"`
	}{"about:blank", http.StatusText(status), status, p.Detail, p.Code, p.Fields}
}

func (d *DevIssuer) discovery(*http.Request) (any, error) {
	return map[string]any{
		"issuer":                                d.issuer,
		"jwks_uri":                              d.issuer + "/jwks",
		"token_endpoint":                        d.issuer + "/token",
		"response_types_supported":              []string{"token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"EdDSA"},
		developmentMark:                         true,
	}, nil
}

func (d *DevIssuer) jwks(*http.Request) (any, error) {
	set, err := d.published()
	return json.RawMessage(set), err
}

func (d *DevIssuer) postToken(r *http.Request) (any, error) {
	request, err := readTokenRequest(r)
	if err != nil {
		return nil, err
	}
	token, err := d.token(request)
	if err != nil {
		return nil, err
	}
	return TokenResponse{AccessToken: token, TokenType: "Bearer", ExpiresIn: request.TTLSeconds}, nil
}

func readTokenRequest(r *http.Request) (TokenRequest, error) {
	// Demanding JSON also keeps web pages out: a browser asks before it sends that
	// to another origin, and gets no leave here.
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return TokenRequest{}, problem.New(problem.UnsupportedMedia, "unsupported_media_type", "Send Content-Type: application/json.")
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return TokenRequest{}, problem.New(problem.TooLarge, "too_large", "A token request is at most %d bytes.", maxTokenRequestBytes)
	case err != nil:
		return TokenRequest{}, problem.New(problem.Malformed, "malformed", "The body could not be read.")
	}
	return decodeTokenRequest(body)
}

// decodeTokenRequest reads and checks a request; its TTL is set afterwards.
func decodeTokenRequest(body []byte) (TokenRequest, error) {
	// A pointer tells an explicit 0, which is refused, from an absent ttl_seconds.
	var wire struct {
		TokenRequest
		TTLSeconds *int64 `json:"ttl_seconds"`
	}
	if err := strictjson.Unmarshal(body, &wire); err != nil {
		return TokenRequest{}, err
	}
	request := wire.TokenRequest
	request.TTLSeconds = defaultTTLSeconds
	if wire.TTLSeconds != nil {
		request.TTLSeconds = *wire.TTLSeconds
	}
	if request.Roles == nil {
		request.Roles = []string{}
	}
	if faults := request.faults(); len(faults) > 0 {
		return TokenRequest{}, problem.New(problem.Invalid, "invalid", "The token request is not valid.").With(faults...)
	}
	return request, nil
}

// faults are what would keep any service from accepting the token. An org_id that
// starts with _ is not among them: that is for the service to refuse, and so tests
// can show that it does.
func (r TokenRequest) faults() []problem.Field {
	var faults []problem.Field
	check := func(good bool, field, message string) {
		if !good {
			faults = append(faults, problem.Field{Location: "body." + field, Message: message})
		}
	}
	check(r.Sub != "" && printable(r.Sub, maxIdentifierBytes), "sub", "must be 1 to 255 bytes without control characters")
	check(orgPattern.MatchString(r.Org), "org_id", "must be 1 to 64 letters, digits, _ or -")
	check(printable(r.Person, maxIdentifierBytes), "person_id", "must be at most 255 bytes without control characters")
	check(printable(r.Name, maxNameBytes), "name", "must be at most 1024 bytes without control characters")
	check(printable(r.Email, maxNameBytes), "email", "must be at most 1024 bytes without control characters")
	check(listable(r.Roles), "roles", "must be at most 256 names, each of 1 to 255 bytes without control characters")
	check(listable(r.Groups), "groups", "must be at most 256 names, each of 1 to 255 bytes without control characters")
	check(r.TTLSeconds >= 1 && r.TTLSeconds <= maxTTLSeconds, "ttl_seconds", "must be from 1 to 86400")
	return faults
}

func listable(items []string) bool {
	return len(items) <= maxListItems && !slices.ContainsFunc(items, func(item string) bool {
		return strings.TrimSpace(item) == "" || !printable(item, maxIdentifierBytes)
	})
}
