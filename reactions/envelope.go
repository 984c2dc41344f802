package reactions

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
)

// envelope seals what processes of one system tell each other over core NATS: what they
// say is personal, and whoever else may publish there cannot make one.
type envelope struct{ aead cipher.AEAD }

func newEnvelope(key []byte) *envelope {
	hashed := sha256.Sum256(key)
	block, err := aes.NewCipher(hashed[:])
	if err != nil {
		panic(fmt.Sprintf("reactions: AES takes keys of 32 bytes: %v", err))
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(fmt.Sprintf("reactions: GCM takes AES: %v", err))
	}
	return &envelope{aead}
}

func (e *envelope) close(data []byte) []byte { return e.aead.Seal(nil, nil, data, nil) }

// errForged is a message that no observer of this system has sent.
var errForged = errors.New("a message about a member was not sealed by this system")

// open gives what was closed. Error: errForged.
func (e *envelope) open(sealed []byte) ([]byte, error) {
	data, err := e.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, errForged
	}
	return data, nil
}
