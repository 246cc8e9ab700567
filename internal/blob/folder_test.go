package blob_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// files are the paths of all files below a folder.
func files(t *testing.T, dir string) []string {
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path != filepath.Join(dir, "lock") {
			rel, _ := filepath.Rel(dir, path)
			all = append(all, rel)
		}
		return err
	}))
	return all
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "partial"), 0o700))
	for _, name := range []string{"left", "under way"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "partial", name), []byte("half"), 0o600))
	}
	old := time.Now().Add(-2 * time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "partial", "left"), old, old))
	open(t, dir)
	require.Equal(t, []string{filepath.Join("partial", "under way")}, files(t, dir))
}

// Two processes are two Folders: they share nothing but the files.
func TestFoldersShareAFolder(t *testing.T) {
	dir := t.TempDir()
	one, other := open(t, dir), open(t, dir)
	ref, err := one.Put(t.Context(), strings.NewReader("x"))
	require.NoError(t, err)
	old := time.Now().Add(-time.Hour)
	for range 200 {
		require.NoError(t, os.Chtimes(filepath.Join(dir, ref.SHA256[:2], ref.SHA256), old, old))
		put := make(chan error, 1)
		go func() {
			_, err := one.Put(context.Background(), strings.NewReader("x"))
			put <- err
		}()
		_, err := other.DeleteBefore(t.Context(), ref.SHA256, time.Now().Add(-time.Minute))
		require.NoError(t, err)
		require.NoError(t, <-put)
		_, err = one.Stat(t.Context(), ref.SHA256)
		require.NoError(t, err)
	}
}

func TestFolderAddresses(t *testing.T) {
	dir := t.TempDir()
	for address, where := range map[string]string{"": "default", "file://" + filepath.Join(dir, "other"): "other"} {
		s, err := blob.Open(t.Context(), address, filepath.Join(dir, "default"))
		require.NoError(t, err)
		ref, err := s.Put(t.Context(), strings.NewReader("x"))
		require.NoError(t, errors.Join(err, s.Close()))
		require.FileExists(t, filepath.Join(dir, where, ref.SHA256[:2], ref.SHA256))
	}
	for _, wrong := range []string{"/tmp/x", "file://host/x", "file:x", "ftp://x/y", "s3://host", "s3://key@host/bucket", "s3://host/bucket?tls=maybe",
		"s3://host/bucket?colour=red", "s3://key:sec%zzret@host/bucket", "s3:///bucket"} {
		err := blob.Check(wrong)
		require.Error(t, err, wrong)
		require.NotContains(t, err.Error(), "zzret")
		_, err = blob.Open(t.Context(), wrong, dir)
		require.Error(t, err, wrong)
	}
	require.NoError(t, blob.Check("s3://KEY:a%2Fb@minio:9000/bucket/deep/prefix?tls=false&region=eu-west-1"))
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
