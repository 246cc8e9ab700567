package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// mark is how far the log has been acknowledged. It is kept in a file of its own because a damaged write-ahead log opens
// without an error, only shorter.
type mark struct {
	pos  uint64 // last acknowledged event, 0 for none
	next uint64 // position of the event after it; never reused, even when events were lost
	crc  uint32 // checksum of the event at pos
}

const (
	markFile  = "watermark"
	markMagic = 0x4d574b44 // "DKWM"
	markSize  = 36
	markSlot  = 4096 // the two slots lie in different sectors, so that at most one is torn
)

// markWriter keeps the watermark file: two slots, written alternately. Writing costs no sync: losing the newest mark in a
// power failure only loses the check, never an event.
type markWriter struct {
	mu    sync.Mutex
	file  vfs.File
	gen   uint64
	dirty bool
	buf   [markSize]byte
}

// openMark opens or creates the watermark file. found is false when it holds nothing; damaged says it held something else.
func openMark(fs vfs.FS, dir string) (w *markWriter, m mark, found bool, damaged error, err error) {
	f, err := fs.OpenReadWrite(fs.PathJoin(dir, markFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, m, false, nil, fmt.Errorf("opening the watermark file: %w", err)
	}
	w = &markWriter{file: f}
	if w.gen, m, found, damaged, err = readMark(f); err != nil {
		return nil, m, false, nil, errors.Join(err, f.Close())
	}
	return w, m, found, damaged, nil
}

// readMark reads the newer of the two slots.
func readMark(f vfs.File) (newest uint64, m mark, found bool, damaged error, err error) {
	content := false
	for slot := range int64(2) {
		buf := make([]byte, markSize)
		n, err := f.ReadAt(buf, slot*markSlot)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, m, false, nil, fmt.Errorf("reading the watermark file: %w", err)
		}
		content = content || n > 0
		if gen, sm, ok := decodeMark(buf[:n]); ok && gen > newest {
			newest, m, found = gen, sm, true
		}
	}
	if content && !found {
		damaged = errors.New("the watermark file is damaged")
	}
	return newest, m, found, damaged, nil
}

func decodeMark(b []byte) (gen uint64, m mark, ok bool) {
	le := binary.LittleEndian
	if len(b) < markSize || le.Uint32(b) != markMagic || le.Uint32(b[4:]) != crc32.Checksum(b[8:markSize], castagnoli) {
		return 0, m, false
	}
	return le.Uint64(b[8:]), mark{pos: le.Uint64(b[16:]), next: le.Uint64(b[24:]), crc: le.Uint32(b[32:])}, true
}

// advance records m in the older slot.
func (w *markWriter) advance(m mark) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gen++
	le, b := binary.LittleEndian, w.buf[:]
	le.PutUint32(b, markMagic)
	le.PutUint64(b[8:], w.gen)
	le.PutUint64(b[16:], m.pos)
	le.PutUint64(b[24:], m.next)
	le.PutUint32(b[32:], m.crc)
	le.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	w.dirty = true
	if _, err := w.file.WriteAt(b, int64(w.gen%2)*markSlot); err != nil {
		return fmt.Errorf("writing the watermark: %w", err)
	}
	return nil
}

// copyTo writes the newest mark into a new file.
func (w *markWriter) copyTo(fs vfs.FS, name string) error {
	w.mu.Lock()
	buf, slot := w.buf, int64(w.gen%2)
	w.mu.Unlock()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(buf[:], slot*markSlot)
	return errors.Join(err, f.Close())
}

// sync makes the newest mark durable if there is a newer one than last time.
func (w *markWriter) sync() error {
	w.mu.Lock()
	dirty := w.dirty
	w.dirty = false
	w.mu.Unlock()
	if !dirty {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("syncing the watermark: %w", err)
	}
	return nil
}
