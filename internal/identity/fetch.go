package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	discoveryPath = "/.well-known/openid-configuration"
	// maxDocumentBytes bounds an answer: 64 RSA keys with certificates fit.
	maxDocumentBytes = 512 << 10
)

// newClient is an HTTP client for one small service nearby. Redirects are refused:
// whoever could plant one would choose the keys.
func newClient() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        time.Minute,
			TLSHandshakeTimeout:    fetchTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch asks the issuer for its keys: discovery, then the key set it names. Both
// each time, so that an issuer may move its key set.
func (s *keySource) fetch(ctx context.Context) ([]publicKey, error) {
	document, err := s.get(ctx, s.url+discoveryPath)
	if err != nil {
		return nil, err
	}
	var discovery struct {
		Issuer      string `json:"issuer"`
		JWKSURI     string `json:"jwks_uri"`
		Development bool   `json:"hub_development_issuer"` // developmentMark
	}
	if err := json.Unmarshal(document, &discovery); err != nil {
		return nil, fmt.Errorf("reading the discovery document: %w", err)
	}
	if discovery.Development && !s.development {
		return nil, ErrDevelopmentIssuer
	}
	if discovery.Issuer != s.issuer {
		return nil, fmt.Errorf("the discovery document is of issuer %.200q, expected is %q (IDENTITY_ISSUER)", discovery.Issuer, s.issuer)
	}
	if err := checkKeysURL(discovery.JWKSURI, s.url); err != nil {
		return nil, err
	}
	if document, err = s.get(ctx, discovery.JWKSURI); err != nil {
		return nil, err
	}
	return parseKeys(document, s.log)
}

// checkKeysURL refuses to go from an encrypted service to keys in clear.
func checkKeysURL(keys, service string) error {
	u, err := url.Parse(keys)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("the discovery document names no http or https jwks_uri")
	}
	if from, err := url.Parse(service); err == nil && from.Scheme == "https" && u.Scheme != "https" {
		return errors.New("the discovery document came over https, its jwks_uri is http")
	}
	return nil
}

func (s *keySource) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocumentBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", address, err)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %s", address, response.Status)
	case len(body) > maxDocumentBytes:
		return nil, fmt.Errorf("%s answered more than %d bytes", address, maxDocumentBytes)
	}
	return body, nil
}
