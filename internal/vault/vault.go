// Package vault keeps the process's secret key and what is derived from it:
// sealed values, keyed hashes, password hashes and tokens. The key itself never
// leaves it.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// KeySize is the length of a secret key in bytes.
const KeySize = 32

// ErrSealed means that a sealed value was changed, was sealed for another
// context, or with another key.
var ErrSealed = errors.New("sealed value does not open here")

// sealedVersion is the first byte of a sealed value, so that another algorithm
// can follow.
const sealedVersion = 1

// Vault derives everything from one secret key. It is safe for concurrent use.
type Vault struct {
	seal cipher.AEAD
	hmac []byte
}

// New makes a vault of a key of KeySize bytes.
func New(key []byte) (*Vault, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the secret key has %d bytes, must have %d", len(key), KeySize)
	}
	seal, err := subkey(key, "docket/seal/v1")
	if err != nil {
		return nil, err
	}
	mac, err := subkey(key, "docket/hmac/v1")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	// A random 96-bit nonce is safe for about 2^32 values under one key.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Vault{seal: aead, hmac: mac}, nil
}

func subkey(key []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, key, nil, purpose, KeySize)
}

// Open makes a vault of the configured key (base64 of KeySize bytes), or, when
// there is none, of the key in a file, which is created on first use.
func Open(configured, file string) (*Vault, error) {
	var key []byte
	var err error
	if configured != "" {
		key, err = ParseKey(configured)
	} else {
		key, err = keyFile(file)
	}
	if err != nil {
		return nil, err
	}
	return New(key)
}

// ParseKey decodes a key written in base64, standard or URL alphabet, padded or not.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(key) != KeySize {
		return nil, fmt.Errorf("the secret key must be %d bytes in base64", KeySize)
	}
	return key, nil
}

// keyFile reads the key, or makes one. The file appears whole or not at all, is
// only the owner's, and of two processes that start together one wins.
func keyFile(path string) ([]byte, error) {
	for range 2 {
		key, err := readKey(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return key, err
		}
		if err := createKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("creating the secret key: %w", err)
		}
	}
	return readKey(path)
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the secret key %s can be read by others (mode %v): chmod 600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func createKey(path string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".key-*") // 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	var key [KeySize]byte
	rand.Read(key[:])
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	// Link, unlike rename, does not replace a key that is there already.
	if err := os.Link(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Seal encrypts and authenticates a value for a context ("smtp-server/<id>").
// Only Open with the same context returns it.
func (v *Vault) Seal(context string, plain []byte) []byte {
	out := make([]byte, 1, 1+v.seal.Overhead()+len(plain))
	out[0] = sealedVersion
	return v.seal.Seal(out, nil, plain, []byte(context))
}

// Open decrypts what Seal made. The error is ErrSealed.
func (v *Vault) Open(context string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealedVersion {
		return nil, ErrSealed
	}
	plain, err := v.seal.Open(nil, nil, sealed[1:], []byte(context))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// HMAC is a keyed hash of a value for a purpose ("claim/user-name"): 160 bits in
// lower-case hex. Without the key the value cannot be found by trying.
func (v *Vault) HMAC(purpose, value string) string {
	mac := hmac.New(sha256.New, v.hmac)
	// The length keeps ("ab","c") and ("a","bc") apart.
	mac.Write(fmt.Appendf(nil, "%d:%s", len(purpose), purpose))
	mac.Write([]byte(value))
	return hex.EncodeToString(mac.Sum(nil)[:20])
}

// SigningKey is a key of KeySize bytes for signing what is for a purpose
// ("safeq/access-token"). It tells nothing of the secret key or of other keys.
func (v *Vault) SigningKey(purpose string) []byte {
	mac := hmac.New(sha256.New, v.hmac)
	mac.Write(fmt.Appendf(nil, "signing key/%s", purpose))
	return mac.Sum(nil)
}
