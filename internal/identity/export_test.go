package identity

import "log/slog"

// PublicKeys are the keys of a JWK set that are used.
func PublicKeys(document []byte) []any {
	keys, err := parseKeys(document, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil
	}
	var public []any
	for _, key := range keys {
		public = append(public, key.public)
	}
	return public
}
