package safeq

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example that the vendor published (contract safeq 2).
func TestPublishedSignature(t *testing.T) {
	const key, signature = "HUUtnCdtG1x9oiSI4ODtvIEmI/qp7lFknsu1lpVk8T8=", "MKS1dCmgp4rLbZ2oaQeFb9pultWjI0zU7si5lb3oLCJWH8t8jgps4LLz/isPSa5OWfQAtFB3NAu04axirmF9CA=="
	body := []byte("client_id=0966a26c-a5fc-4276-9c6b-587d02aceb91&client_secret=mykey&grant_type=device_code&device_code=wVgzOcLwemGJPfY_d01E3PA8H3k")
	require.True(t, verifySignature("ed25519", key, signature, body))
	for i := range body {
		changed := append([]byte{}, body...)
		changed[i] ^= 1
		require.False(t, verifySignature("ed25519", key, signature, changed), "byte %d", i)
	}
	require.False(t, verifySignature("rsa", key, signature, body))
	require.False(t, verifySignature("ed25519", key, "", body))
	require.False(t, verifySignature("ed25519", key, "%%%", body))
}

func TestSignaturesOfAllKinds(t *testing.T) {
	body := []byte("a=b")
	sum := sha256.Sum256(body)
	text := base64.StdEncoding.EncodeToString
	pkix := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		require.NoError(t, err)
		return text(der)
	}
	edPublic, edPrivate, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, rsaKey.Public(), rsaKey)
	require.NoError(t, err)
	ofRSA, err := rsaKey.Sign(rand.Reader, sum[:], crypto.SHA256)
	require.NoError(t, err)
	ofEC, err := ecKey.Sign(rand.Reader, sum[:], crypto.SHA256)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		kind, key string
		signature []byte
	}{
		"ed25519, raw":       {"ed25519", text(edPublic), ed25519.Sign(edPrivate, body)},
		"ed25519":            {"ed25519", pkix(edPublic), ed25519.Sign(edPrivate, body)},
		"ed25519 as x509":    {"x509", pkix(edPublic), ed25519.Sign(edPrivate, body)},
		"rsa":                {"rsa", pkix(rsaKey.Public()), ofRSA},
		"rsa, PKCS #1":       {"rsa", text(x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)), ofRSA},
		"ecdsa as x509":      {"x509", pkix(ecKey.Public()), ofEC},
		"x509, certificate":  {"x509", text(certificate), ofRSA},
		"unpadded, URL-safe": {"ed25519", base64.RawURLEncoding.EncodeToString(edPublic), ed25519.Sign(edPrivate, body)},
	} {
		require.True(t, verifySignature(c.kind, c.key, text(c.signature), body), name)
		require.False(t, verifySignature(c.kind, c.key, text(c.signature), []byte("a=c")), name)
	}
	small, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537})
	require.NoError(t, err)
	for kind, key := range map[string]string{"ed25519": pkix(rsaKey.Public()), "rsa": text(small), "x509": "AAAA"} {
		_, err := parsePublicKey(kind, key)
		require.Error(t, err, kind)
	}
}
