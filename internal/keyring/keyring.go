// Package keyring keeps an encryption key per subject, so that destroying one
// key erases all that was sealed for its subject, wherever copies of it lie.
//
// The keys are in PostgreSQL, sealed by the vault. They are the one thing in
// that database, with API answers still kept for repeats, that can't be rebuilt
// from the event log: back them up.
package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"docket/internal/postgres"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/maypok86/otter/v2"
)

const (
	schema  = "keyring"
	keySize = 32
	// patience bounds a look into the database.
	patience = 5 * time.Second
	// ahead is how many keys are read at once. A rebuild meets subjects in the
	// order of their ids, which begin with the time.
	ahead = 1000
	// maxCached keys are kept at hand.
	maxCached = 50_000
	// freshness bounds how long another process may still open what was erased.
	freshness = time.Minute
)

// migrations are append-only; see postgres.Migrate.
var migrations = []string{`
create table subject_key (
	subject    uuid primary key,
	key        bytea,                              -- sealed; null once erased
	created_at timestamptz not null default now(),
	erased_at  timestamptz
);`}

// Sealer protects the keys themselves. *vault.Vault is one.
type Sealer interface {
	Seal(context string, plain []byte) []byte
	Open(context string, sealed []byte) ([]byte, error)
}

// Ring is the set of keys.
type Ring struct {
	pool   *pgxpool.Pool
	sealer Sealer
	cache  *otter.Cache[uuid.UUID, cipher.AEAD] // nil for erased subjects
}

// Open readies the table. The pool must commit durably.
func Open(ctx context.Context, pool *pgxpool.Pool, sealer Sealer) (*Ring, error) {
	if err := postgres.Migrate(ctx, pool, schema, migrations); err != nil {
		return nil, err
	}
	return &Ring{pool: pool, sealer: sealer, cache: otter.Must(&otter.Options[uuid.UUID, cipher.AEAD]{
		MaximumSize:      maxCached,
		ExpiryCalculator: otter.ExpiryWriting[uuid.UUID, cipher.AEAD](freshness),
	})}, nil
}

// ErrErased says that nothing can be sealed for a subject any more.
var ErrErased = errors.New("keyring: the subject was erased")

// Seal encrypts for a subject and makes its key when there is none.
func (r *Ring) Seal(subject uuid.UUID, plain []byte) ([]byte, error) {
	aead, known := r.cache.GetIfPresent(subject)
	if !known {
		// Nearly always somebody new: whom one changes, one has read before.
		var err error
		if aead, known, err = r.create(subject); err == nil && !known {
			aead, _, err = r.find(subject)
		}
		if err != nil {
			return nil, err
		}
	}
	if aead == nil {
		return nil, ErrErased
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, plain, subject[:]), nil
}

// Open decrypts. It is not ok when the subject was erased.
func (r *Ring) Open(subject uuid.UUID, sealed []byte) (plain []byte, ok bool, err error) {
	aead, known, err := r.find(subject)
	switch {
	case err != nil:
		return nil, false, err
	case !known:
		return nil, false, fmt.Errorf("keyring: no key of subject %s, nor a record that it was erased", subject)
	case aead == nil:
		return nil, false, nil
	case len(sealed) < aead.NonceSize():
		return nil, false, errors.New("keyring: sealed text is cut short")
	}
	plain, err = aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], subject[:])
	return plain, err == nil, err
}

// Erase destroys a subject's key for good. It tells whether there was one.
func (r *Ring) Erase(ctx context.Context, subject uuid.UUID) (bool, error) {
	done, err := r.pool.Exec(ctx, `insert into keyring.subject_key as k (subject, erased_at) values ($1, now())
		on conflict (subject) do update set key = null, erased_at = now() where k.erased_at is null`, subject)
	if err != nil {
		return false, err
	}
	r.cache.Set(subject, nil)
	return done.RowsAffected() > 0, nil
}

// find looks a key up. known is true for erased subjects too, whose AEAD is nil.
func (r *Ring) find(subject uuid.UUID) (aead cipher.AEAD, known bool, err error) {
	if aead, known = r.cache.GetIfPresent(subject); known {
		return aead, true, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := r.pool.Query(ctx, `select subject, key from keyring.subject_key where subject >= $1 order by subject limit $2`, subject, ahead)
	if err != nil {
		return nil, false, err
	}
	var id uuid.UUID
	var sealed []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &sealed}, func() error {
		opened, err := r.open(id, sealed)
		if err != nil {
			return err
		}
		r.cache.Set(id, opened)
		if id == subject {
			aead, known = opened, true
		}
		return nil
	})
	return aead, known, err
}

// create makes a key, unless there is one or the subject was erased.
func (r *Ring) create(subject uuid.UUID) (aead cipher.AEAD, made bool, err error) {
	key := make([]byte, keySize)
	rand.Read(key)
	sealed := r.sealer.Seal(purpose(subject), key)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done, err := r.pool.Exec(ctx, `insert into keyring.subject_key (subject, key) values ($1, $2) on conflict do nothing`, subject, sealed)
	if err != nil || done.RowsAffected() == 0 {
		return nil, false, err
	}
	if aead, err = r.open(subject, sealed); err == nil {
		r.cache.Set(subject, aead)
	}
	return aead, true, err
}

func (r *Ring) open(subject uuid.UUID, sealed []byte) (cipher.AEAD, error) {
	if sealed == nil {
		return nil, nil // erased
	}
	key, err := r.sealer.Open(purpose(subject), sealed)
	if err != nil {
		return nil, fmt.Errorf("keyring: key of %s: %w", subject, err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func purpose(subject uuid.UUID) string { return "subject key " + subject.String() }
