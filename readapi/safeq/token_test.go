package safeq

import (
	"strings"
	"testing"
	"time"

	"docket/domain"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

func TestAccessTokens(t *testing.T) {
	tokens := NewTokens([]byte(strings.Repeat("k", 32)))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id := func(n uint32) *domain.ID { i := domain.WellKnownID(n); return &i }
	user := Claims{UserID: id(1), SessionID: id(2), DeviceID: id(3), AccountID: *id(4), KeyID: *id(5), IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	text, err := tokens.Sign(user)
	require.NoError(t, err)
	got, err := tokens.Parse(text, now.Add(59*time.Minute))
	require.NoError(t, err)
	user.IssuedAt = time.Time{}
	got.ExpiresAt = got.ExpiresAt.UTC()
	require.Equal(t, user, got)

	device := Claims{DeviceID: id(3), AccountID: *id(4), KeyID: *id(5), IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	ofDevice, err := tokens.Sign(device)
	require.NoError(t, err)
	got, err = tokens.Parse(ofDevice, now)
	require.NoError(t, err)
	require.Nil(t, got.UserID)
	require.Equal(t, id(3), got.DeviceID)

	_, err = tokens.Sign(Claims{UserID: id(1)})
	require.Error(t, err, "no session")
	_, err = tokens.Parse(text, now.Add(time.Hour))
	require.Error(t, err, "expired")
	_, err = NewTokens([]byte(strings.Repeat("x", 32))).Parse(text, now)
	require.Error(t, err, "another key")
	for i := range len(text) - 1 { // the last character holds unused bits
		changed := text[:i] + string(text[i]^1) + text[i+1:]
		_, err = tokens.Parse(changed, now)
		require.Error(t, err, "character %d", i)
	}
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodNone, jwt.SigningMethodHS512} {
		var key any = []byte(strings.Repeat("k", 32))
		if method == jwt.SigningMethodNone {
			key = jwt.UnsafeAllowNoneSignatureType
		}
		forged, err := jwt.NewWithClaims(method, jwt.MapClaims{"sub": id(1).String(), "knd": "device", "exp": now.Add(time.Hour).Unix()}).SignedString(key)
		require.NoError(t, err)
		_, err = tokens.Parse(forged, now)
		require.Error(t, err, method.Alg())
	}
	endless, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": id(1).String(), "knd": "device"}).SignedString([]byte(strings.Repeat("k", 32)))
	require.NoError(t, err)
	_, err = tokens.Parse(endless, now)
	require.Error(t, err, "a token that never ends")
}

func TestTimeRange(t *testing.T) {
	now := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		start, end *time.Time
		from, to   time.Duration
		bad        string
	}{
		"neither":              {from: -day},
		"start":                {start: at(-2 * day), from: -2 * day},
		"end":                  {end: at(-2 * day), from: -3 * day, to: -2 * day},
		"both in the past":     {start: at(-20 * day), end: at(-14 * day), from: -20 * day, to: -14 * day},
		"an end to come":       {start: at(-day), end: at(5 * day), from: -day, to: 5 * day},
		"a week":               {start: at(-7 * day), end: at(0), from: -7 * day},
		"more than a week":     {start: at(-7*day - time.Second), end: at(0), bad: "dateend"},
		"a start long ago":     {start: at(-8 * day), bad: "dateend"},
		"the wrong way round":  {start: at(0), end: at(-day), bad: "datestart"},
		"nothing between them": {start: at(0), end: at(0), bad: "datestart"},
	} {
		from, to, err := timeRange(c.start, c.end, now)
		if c.bad != "" {
			require.ErrorContains(t, err, c.bad, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, now.Add(c.from), from, name)
		require.Equal(t, now.Add(c.to), to, name)
	}
}
