package blob_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"docket/internal/blob"

	"github.com/stretchr/testify/require"
)

var _ blob.Store = (*blob.Folder)(nil)

func open(t *testing.T, dir string) *blob.Folder {
	f, err := blob.OpenFolder(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func read(t *testing.T, f *blob.Folder, name string) []byte {
	r, err := f.Open(t.Context(), name)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return data
}

// files are the paths of all files below a folder.
func files(t *testing.T, dir string) []string {
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			all = append(all, rel)
		}
		return err
	}))
	return all
}

func TestContentComesBack(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	for _, content := range [][]byte{nil, []byte("a template"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)} {
		sum := sha256.Sum256(content)
		ref, err := f.Put(t.Context(), bytes.NewReader(content))
		require.NoError(t, err)
		require.Equal(t, blob.Ref{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))}, ref)
		stat, err := f.Stat(t.Context(), ref.SHA256)
		require.NoError(t, err)
		require.Equal(t, ref, stat)
		require.Equal(t, string(content), string(read(t, f, ref.SHA256)))
	}
	again := open(t, dir) // another process, later
	require.Len(t, files(t, dir), 3)
	sum := sha256.Sum256([]byte("a template"))
	require.Equal(t, "a template", string(read(t, again, hex.EncodeToString(sum[:]))))
}

func TestSameContentOnce(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	content := strings.Repeat("x", 100_000)
	var wg sync.WaitGroup
	refs := make([]blob.Ref, 16)
	for i := range refs {
		wg.Go(func() {
			var err error
			refs[i], err = f.Put(context.Background(), strings.NewReader(content))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range refs {
		require.Equal(t, refs[0], r)
	}
	require.Equal(t, []string{filepath.Join(refs[0].SHA256[:2], refs[0].SHA256)}, files(t, dir))
	require.Equal(t, content, string(read(t, f, refs[0].SHA256)))
}

func TestNothingIsKeptOfAFailedPut(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	broken := errors.New("the upload broke off")
	_, err := f.Put(t.Context(), io.MultiReader(strings.NewReader("first half"), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.Put(ctx, strings.NewReader("never read"))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, files(t, dir))
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "partial"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "partial", "x"), []byte("half"), 0o600))
	open(t, dir)
	require.Empty(t, files(t, dir))
}

func TestNamesStayInside(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.key")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	f := open(t, filepath.Join(dir, "blobs"))
	ref, err := f.Put(t.Context(), strings.NewReader("x"))
	require.NoError(t, err)
	for _, name := range []string{"", ".", "..", "../secret.key", secret, "ab", ref.SHA256[:63], ref.SHA256 + "0", strings.ToUpper(ref.SHA256),
		strings.Repeat("../", 22)[:64], strings.Repeat("0", 64), "partial/" + strings.Repeat("0", 56)} {
		_, err := f.Open(t.Context(), name)
		require.ErrorIs(t, err, blob.ErrNotFound, name)
		_, err = f.Stat(t.Context(), name)
		require.ErrorIs(t, err, blob.ErrNotFound, name)
	}
	// A link planted where content should be leads nowhere either.
	shelf := filepath.Join(dir, "blobs", "00")
	require.NoError(t, os.Mkdir(shelf, 0o700))
	planted := strings.Repeat("0", 64)
	require.NoError(t, os.Symlink("../../secret.key", filepath.Join(shelf, planted)))
	_, err = f.Open(t.Context(), planted)
	require.Error(t, err)
}
