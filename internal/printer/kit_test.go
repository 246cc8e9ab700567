package printer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// quick is a carrier with the times of tests.
var quick = carrier{dial: 2 * time.Second, stall: 10 * time.Second, settle: 10 * time.Second, poll: time.Millisecond, slow: 20 * time.Millisecond}

// from is a Source of bytes of a known size.
func from(content string) Source {
	return func() (io.ReadCloser, int64, error) {
		return io.NopCloser(bytes.NewReader([]byte(content))), int64(len(content)), nil
	}
}

// stream is a Source of n bytes of unknown size.
func stream(n int64) Source {
	return func() (io.ReadCloser, int64, error) { return io.NopCloser(io.LimitReader(zeros{}, n)), -1, nil }
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

var errBroken = errors.New("the store broke off")

// broken is a Source that fails on the way.
func broken() (io.ReadCloser, int64, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 10_000)), iotest.ErrReader(errBroken))), 20_000, nil
}

// requireError checks kind and reason of a failed delivery.
func requireError(t *testing.T, err error, temporary bool, reason string) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, Reason(err), reason)
	require.Equal(t, temporary, Temporary(err), err)
	return e
}

func TestDummy(t *testing.T) {
	receipt, err := Deliver(t.Context(), Target{Protocol: Dummy}, Job{ID: "7"}, from("content"))
	require.NoError(t, err)
	require.Equal(t, Receipt{PrinterJob: "dummy-7", Bytes: 7, Confirmed: true}, receipt)
}

// Whatever the way, a document that cannot be read is not the printer's fault.
func TestDocumentThatBreaksOff(t *testing.T) {
	for name, source := range map[string]Source{
		"at once": func() (io.ReadCloser, int64, error) { return nil, 0, errBroken }, "on the way": broken,
		"too short": func() (io.ReadCloser, int64, error) { return io.NopCloser(bytes.NewReader(nil)), 5, nil },
		"too long":  func() (io.ReadCloser, int64, error) { return io.NopCloser(bytes.NewReader([]byte("123456"))), 5, nil },
	} {
		_, err := Deliver(t.Context(), Target{Protocol: Dummy}, Job{}, source)
		require.Error(t, err, name)
		require.True(t, Temporary(err), name)
		require.Equal(t, "the document could not be delivered", Reason(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Deliver(ctx, Target{Protocol: Dummy}, Job{}, from("x"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestTargets(t *testing.T) {
	for _, good := range []Target{{Protocol: TCP, Address: "printer"}, {Protocol: TCP, Address: "10.0.0.1:9101"}, {Protocol: TCP, Address: "::1"}, {Protocol: TCP, Address: "[::1]"},
		{Protocol: TCP, Address: "[fe80::1%eth0]:9100"}, {Protocol: IPP, URL: "ipp://printer"}, {Protocol: IPP, URL: "https://u:p@printer:443/ipp/print"}, {Protocol: Spooler, Address: "office-1"}, {Protocol: Dummy}} {
		require.NoError(t, Check(good), good)
	}
	for _, wrong := range []Target{{}, {Protocol: "lpd"}, {Protocol: TCP}, {Protocol: TCP, Address: ":9100"}, {Protocol: TCP, Address: "a b"}, {Protocol: TCP, Address: "http://x"}, {Protocol: TCP, Address: "host:port:1"},
		{Protocol: TCP, Address: "host:99999"}, {Protocol: TCP, Address: "user@host"}, {Protocol: IPP}, {Protocol: IPP, URL: "printer"}, {Protocol: IPP, URL: "ftp://u:secret@printer"},
		{Protocol: IPP, URL: "ipp://u:sec%zzret@printer"}, {Protocol: Spooler}, {Protocol: Spooler, Address: "-d"}, {Protocol: Spooler, Address: "a/b"}} {
		err := Check(wrong)
		require.Error(t, err, wrong)
		require.NotContains(t, err.Error(), "ret", wrong)
		_, err = Deliver(t.Context(), wrong, Job{}, from("x"))
		requireError(t, err, false, Check(wrong).Error())
	}
	for address, dialled := range map[string]string{"printer": "printer:9100", "::1": "[::1]:9100", "[::1]": "[::1]:9100", "[::1]:515": "[::1]:515"} {
		got, err := dialAddress(address)
		require.NoError(t, err)
		require.Equal(t, dialled, got)
	}
}
