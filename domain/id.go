package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// ID identifies an aggregate. It is a UUIDv7 of which only 96 bits are free:
// 48 bits of Unix milliseconds and 48 random ones. The remaining 26 bits are
// computed from those, so that an ID maps to the 24 hexadecimal digits some
// APIs use and back without a look-up.
type ID = uuid.UUID

// NewID makes an ID from a time and 48 random bits (the low ones of random).
func NewID(at time.Time, random uint64) ID {
	var seed [12]byte
	ms := uint64(at.UnixMilli())
	binary.BigEndian.PutUint16(seed[0:2], uint16(ms>>32))
	binary.BigEndian.PutUint32(seed[2:6], uint32(ms))
	binary.BigEndian.PutUint16(seed[6:8], uint16(random>>32))
	binary.BigEndian.PutUint32(seed[8:12], uint32(random))
	return fromSeed(seed)
}

// fromSeed lays 96 bits out as a UUIDv7: time in bytes 0-5, 12 random bits in
// bytes 6-7, 36 in bytes 8-12, then 26 check bits.
func fromSeed(seed [12]byte) ID {
	sum := sha256.Sum256(seed[:])
	var id ID
	copy(id[0:6], seed[0:6])
	random := uint64(binary.BigEndian.Uint16(seed[6:8]))<<32 | uint64(binary.BigEndian.Uint32(seed[8:12]))
	check := uint64(binary.BigEndian.Uint32(sum[:4])) >> 6 // 26 bits
	binary.BigEndian.PutUint16(id[6:8], 0x7000|uint16(random>>36))
	low := (random&0xF_FFFF_FFFF)<<26 | check // 62 bits
	binary.BigEndian.PutUint64(id[8:16], 1<<63|low)
	return id
}

func seedOf(id ID) [12]byte {
	var seed [12]byte
	copy(seed[0:6], id[0:6])
	random := uint64(binary.BigEndian.Uint16(id[6:8])&0x0FFF)<<36 | (binary.BigEndian.Uint64(id[8:16])&(1<<62-1))>>26
	binary.BigEndian.PutUint16(seed[6:8], uint16(random>>32))
	binary.BigEndian.PutUint32(seed[8:12], uint32(random))
	return seed
}

// ShortID is the ID as 24 lower-case hexadecimal digits.
func ShortID(id ID) string {
	seed := seedOf(id)
	return hex.EncodeToString(seed[:])
}

// ParseShortID finds the ID behind 24 hexadecimal digits.
func ParseShortID(s string) (ID, error) {
	var seed [12]byte
	if len(s) != 24 {
		return ID{}, fmt.Errorf("short id has %d digits, want 24", len(s))
	}
	if _, err := hex.Decode(seed[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("short id: %w", err)
	}
	return fromSeed(seed), nil
}

// WellKnownID is a constant ID for things every installation has, such as the
// root organization. Its short form is the number itself in hexadecimal.
func WellKnownID(number uint32) ID {
	var seed [12]byte
	binary.BigEndian.PutUint32(seed[8:12], number)
	return fromSeed(seed)
}

// DerivedID is an ID fixed by another and a name, for parts that need one of
// their own. It sorts with the times of the ID it comes from.
func DerivedID(from ID, name string) ID {
	sum := sha256.Sum256(append(from[:], name...))
	var seed [12]byte
	copy(seed[0:6], from[0:6])
	copy(seed[6:12], sum[:6])
	return fromSeed(seed)
}
