package blob_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"docket/internal/blob"

	"github.com/stretchr/testify/require"
)

// kept is a store under test.
type kept struct {
	blob.Store
	again func() blob.Store           // the same content through another store
	age   func(sha256 string)         // makes content count as put three hours ago
	stray func(t *testing.T) []string // what is kept besides content
}

// contract runs a test against every kind of store.
func contract(t *testing.T, test func(t *testing.T, s kept)) {
	t.Run("folder", func(t *testing.T) { test(t, folderUnderTest(t)) })
	t.Run("s3", func(t *testing.T) { test(t, newFake(t).underTest(t)) })
}

func folderUnderTest(t *testing.T) kept {
	dir := t.TempDir()
	return kept{
		Store: open(t, dir),
		again: func() blob.Store { return open(t, dir) },
		age: func(name string) {
			old := time.Now().Add(-3 * time.Hour)
			require.NoError(t, os.Chtimes(filepath.Join(dir, name[:2], name), old, old))
		},
		stray: func(t *testing.T) []string {
			return slices.DeleteFunc(files(t, dir), func(path string) bool { return len(filepath.Base(path)) == 64 })
		},
	}
}

func read(t *testing.T, s blob.Store, name string) []byte {
	r, err := s.Open(t.Context(), name)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return data
}

func put(t *testing.T, s blob.Store, content string) blob.Ref {
	ref, err := s.Put(t.Context(), strings.NewReader(content))
	require.NoError(t, err)
	return ref
}

func list(t *testing.T, s blob.Store) map[string]blob.Entry {
	all := map[string]blob.Entry{}
	require.NoError(t, s.List(t.Context(), func(e blob.Entry) error {
		require.NotContains(t, all, e.SHA256)
		all[e.SHA256] = e
		return nil
	}))
	return all
}

func TestContentComesBack(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		large := make([]byte, 16<<20+7) // more than one part of an upload to S3
		_, err := rand.Read(large)
		require.NoError(t, err)
		for _, content := range [][]byte{nil, []byte("a template"), large} {
			sum := sha256.Sum256(content)
			ref, err := s.Put(t.Context(), bytes.NewReader(content))
			require.NoError(t, err)
			require.Equal(t, blob.Ref{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))}, ref)
			stat, err := s.Stat(t.Context(), ref.SHA256)
			require.NoError(t, err)
			require.Equal(t, ref, stat)
			require.True(t, bytes.Equal(content, read(t, s, ref.SHA256)))
			require.True(t, bytes.Equal(content, read(t, s.again(), ref.SHA256)))
		}
		require.Len(t, list(t, s), 3)
		require.Empty(t, s.stray(t))
	})
}

func TestSameContentOnce(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		content := strings.Repeat("x", 100_000)
		var wg sync.WaitGroup
		refs := make([]blob.Ref, 16)
		for i := range refs {
			wg.Go(func() {
				var err error
				refs[i], err = s.Put(context.Background(), strings.NewReader(content))
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, r := range refs {
			require.Equal(t, refs[0], r)
		}
		require.Len(t, list(t, s), 1)
		require.Empty(t, s.stray(t))
		require.Equal(t, content, string(read(t, s, refs[0].SHA256)))
	})
}

func TestNothingIsKeptOfAFailedPut(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		broken := errors.New("the upload broke off")
		_, err := s.Put(t.Context(), io.MultiReader(strings.NewReader("first half"), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
		_, err = s.Put(t.Context(), io.MultiReader(strings.NewReader("first half"), iotest.ErrReader(syscall.ENOSPC)))
		require.ErrorIs(t, err, blob.ErrFull)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = s.Put(ctx, strings.NewReader("never read"))
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, list(t, s))
		require.Empty(t, s.stray(t))
	})
}

func TestLimit(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		l := blob.Limited(s, 1000)
		for _, size := range []int{0, 999, 1000} {
			put(t, l, strings.Repeat("x", size))
		}
		for _, content := range []io.Reader{strings.NewReader(strings.Repeat("y", 1001)), iotest.OneByteReader(strings.NewReader(strings.Repeat("y", 1001))), endless{}} {
			_, err := l.Put(t.Context(), content)
			var large *blob.TooLargeError
			require.ErrorAs(t, err, &large)
			require.EqualValues(t, 1000, large.Limit)
		}
		require.Len(t, list(t, s), 3)
		require.Empty(t, s.stray(t))
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestOnlyNamesOfContentAreFound(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		ref := put(t, s, "x")
		for _, name := range []string{"", ".", "..", "ab", ref.SHA256[:63], ref.SHA256 + "0", strings.ToUpper(ref.SHA256),
			strings.Repeat("../", 22)[:64], strings.Repeat("0", 64)} {
			_, err := s.Open(t.Context(), name)
			require.ErrorIs(t, err, blob.ErrNotFound, name)
			_, err = s.Stat(t.Context(), name)
			require.ErrorIs(t, err, blob.ErrNotFound, name)
			require.NoError(t, s.Delete(t.Context(), name))
			removed, err := s.DeleteBefore(t.Context(), name, time.Now())
			require.NoError(t, err)
			require.False(t, removed)
		}
		require.Len(t, list(t, s), 1)
	})
}

func TestDelete(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		ref := put(t, s, "x")
		require.NoError(t, s.Delete(t.Context(), ref.SHA256))
		_, err := s.Open(t.Context(), ref.SHA256)
		require.ErrorIs(t, err, blob.ErrNotFound)
		require.NoError(t, s.Delete(t.Context(), ref.SHA256))
		require.Equal(t, ref, put(t, s, "x"))
		require.Equal(t, "x", string(read(t, s, ref.SHA256)))
	})
}

func TestListStopsWhenAsked(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		for i := range 5 {
			put(t, s, fmt.Sprint(i))
		}
		enough, seen := errors.New("enough"), 0
		err := s.List(t.Context(), func(e blob.Entry) error {
			require.WithinDuration(t, time.Now(), e.Put, time.Minute)
			if seen++; seen == 2 {
				return enough
			}
			return nil
		})
		require.ErrorIs(t, err, enough)
		require.Equal(t, 2, seen)
	})
}

func TestPuttingAgainCountsAsPutNow(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		ref := put(t, s, "x")
		s.age(ref.SHA256)
		hourAgo := time.Now().Add(-time.Hour)
		require.True(t, list(t, s)[ref.SHA256].Put.Before(hourAgo))
		put(t, s, "x")
		require.WithinDuration(t, time.Now(), list(t, s)[ref.SHA256].Put, time.Minute)
		removed, err := s.DeleteBefore(t.Context(), ref.SHA256, hourAgo)
		require.NoError(t, err)
		require.False(t, removed)
		s.age(ref.SHA256)
		removed, err = s.DeleteBefore(t.Context(), ref.SHA256, hourAgo)
		require.NoError(t, err)
		require.True(t, removed)
		require.Empty(t, list(t, s))
		require.Empty(t, s.stray(t))
	})
}

func TestCollect(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		used, unused, fresh := put(t, s, "used"), put(t, s, "unused"), put(t, s, "fresh")
		s.age(used.SHA256)
		s.age(unused.SHA256)
		var asked []string
		inUse := func(_ context.Context, names []string) (map[string]bool, error) {
			asked = append(asked, names...)
			return map[string]bool{used.SHA256: true}, nil
		}
		done, err := blob.Collect(t.Context(), blob.Limited(s, 1000), inUse, time.Hour)
		require.NoError(t, err)
		require.Equal(t, blob.Collected{Seen: 3, Removed: 1, Bytes: 6}, done)
		require.ElementsMatch(t, []string{used.SHA256, unused.SHA256}, asked)
		all := list(t, s)
		require.Len(t, all, 2)
		require.Contains(t, all, used.SHA256)
		require.Contains(t, all, fresh.SHA256)
		require.Empty(t, s.stray(t))
	})
}

func TestCollectRemovesNothingItIsNotSureOf(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		ref := put(t, s, "x")
		s.age(ref.SHA256)
		down := errors.New("the database is down")
		_, err := blob.Collect(t.Context(), s, func(context.Context, []string) (map[string]bool, error) { return nil, down }, time.Hour)
		require.ErrorIs(t, err, down)
		// Somebody puts the content after the question whether it is in use.
		done, err := blob.Collect(t.Context(), s, func(context.Context, []string) (map[string]bool, error) {
			put(t, s.again(), "x")
			return nil, nil
		}, time.Hour)
		require.NoError(t, err)
		require.Zero(t, done.Removed)
		require.Equal(t, "x", string(read(t, s, ref.SHA256)))
	})
}

func TestCollectAsksInBatches(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const n = 1203
	old := time.Now().Add(-3 * time.Hour)
	for i := range n { // written by hand: Put waits for the disk
		name := fmt.Sprintf("%02x%062x", i%256, i)
		file := filepath.Join(dir, name[:2], name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Chtimes(file, old, old))
	}
	calls := 0
	done, err := blob.Collect(t.Context(), s, func(_ context.Context, names []string) (map[string]bool, error) {
		calls++
		require.LessOrEqual(t, len(names), 500)
		return nil, nil
	}, time.Hour)
	require.NoError(t, err)
	require.Equal(t, n, done.Removed)
	require.Equal(t, 3, calls)
	require.Empty(t, list(t, s))
}

func TestPutAndDeleteBeforeAtOnce(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		for i := range 20 {
			ref := put(t, s, fmt.Sprint(i))
			s.age(ref.SHA256)
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := s.Put(context.Background(), strings.NewReader(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
			_, err := s.again().DeleteBefore(t.Context(), ref.SHA256, time.Now().Add(-time.Hour))
			require.NoError(t, err)
			wg.Wait()
			require.Equal(t, fmt.Sprint(i), string(read(t, s, ref.SHA256)))
		}
		require.Empty(t, s.stray(t))
	})
}

func TestFetch(t *testing.T) {
	contract(t, func(t *testing.T, s kept) {
		ref, dir := put(t, s, "content"), t.TempDir()
		file, err := blob.Fetch(t.Context(), s, ref.SHA256, dir)
		require.NoError(t, err)
		data, err := io.ReadAll(file)
		require.NoError(t, errors.Join(err, file.Close(), os.Remove(file.Name())))
		require.Equal(t, "content", string(data))
		_, err = blob.Fetch(t.Context(), s, strings.Repeat("0", 64), dir)
		require.ErrorIs(t, err, blob.ErrNotFound)
		_, err = blob.Fetch(t.Context(), lying{s}, ref.SHA256, dir)
		require.ErrorContains(t, err, "damaged")
		require.Empty(t, files(t, dir))
	})
}

// lying gives other content than it was asked for.
type lying struct{ blob.Store }

func (lying) Open(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("rot")), nil
}

// allocated is how many bytes something allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestFolderHoldsNoFileInMemory(t *testing.T) {
	s := open(t, t.TempDir())
	require.Less(t, allocated(func() {
		_, err := s.Put(t.Context(), io.LimitReader(endless{}, 64<<20))
		require.NoError(t, err)
	}), uint64(4<<20))
}
