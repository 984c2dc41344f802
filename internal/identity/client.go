package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// RequestToken gets a token from the development issuer at issuerURL. Its errors
// are for the person at the terminal.
func RequestToken(ctx context.Context, issuerURL string, request TokenRequest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	address := strings.TrimRight(issuerURL, "/") + "/token"
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	post.Header.Set("Content-Type", "application/json")
	client := newClient()
	defer client.CloseIdleConnections()
	response, err := client.Do(post)
	if err != nil {
		return "", fmt.Errorf("no development issuer answers at %s; `hub dev` runs one: %w", issuerURL, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxDocumentBytes))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", address, err)
	}
	return readTokenResponse(address, response.StatusCode, answer)
}

func readTokenResponse(address string, status int, answer []byte) (string, error) {
	var fields struct {
		TokenResponse
		Detail string `json:"detail"`
		Errors []struct {
			Location string `json:"location"`
			Message  string `json:"message"`
		} `json:"errors"`
	}
	err := json.Unmarshal(answer, &fields)
	switch {
	case err == nil && status == http.StatusOK && fields.AccessToken != "":
		return fields.AccessToken, nil
	case err != nil || fields.Detail == "":
		return "", fmt.Errorf("%s answered %d and no token: is it the development issuer?", address, status)
	}
	var b strings.Builder
	b.WriteString(fields.Detail)
	for _, fault := range fields.Errors {
		fmt.Fprintf(&b, " %s %s.", strings.TrimPrefix(fault.Location, "body."), fault.Message)
	}
	return "", fmt.Errorf("the development issuer refused: %s", b.String())
}
