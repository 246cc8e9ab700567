package safeq

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
)

var errPublicKey = errors.New("not a public key of this type")

// parsePublicKey reads a device's key: rsa is PKCS #1 or a SubjectPublicKeyInfo,
// ed25519 the 32 bytes or a SubjectPublicKeyInfo, x509 a certificate or a
// SubjectPublicKeyInfo with a key of any of those kinds or of ECDSA.
func parsePublicKey(kind, text string) (crypto.PublicKey, error) {
	der, err := decode64(text)
	if err != nil {
		return nil, err
	}
	if kind == "ed25519" && len(der) == ed25519.PublicKeySize {
		return ed25519.PublicKey(der), nil
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil && kind == "rsa" {
		key, err = x509.ParsePKCS1PublicKey(der)
	}
	if err != nil && kind == "x509" {
		certificate, bad := x509.ParseCertificate(der)
		if bad != nil {
			return nil, bad
		}
		key, err = certificate.PublicKey, nil
	}
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		if kind == "ed25519" || kind == "x509" {
			return key, nil
		}
	case *rsa.PublicKey:
		if (kind == "rsa" || kind == "x509") && key.N.BitLen() >= 2048 {
			return key, nil
		}
	case *ecdsa.PublicKey:
		if kind == "x509" {
			return key, nil
		}
	}
	return nil, errPublicKey
}

// verifySignature tells whether a signature in base64 is that of a body. RSA signs
// with PKCS #1 v1.5 and ECDSA in ASN.1, both over SHA-256.
func verifySignature(kind, publicKey, signature string, body []byte) bool {
	key, err := parsePublicKey(kind, publicKey)
	if err != nil {
		return false
	}
	sig, err := decode64(signature)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(body)
	switch key := key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, body, sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, sum[:], sig)
	}
	return false
}

// decode64 reads base64 of either alphabet, padded or not.
func decode64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(strings.TrimSpace(text), "="))
	return base64.RawStdEncoding.DecodeString(text)
}
