package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/internal/textfold"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Directory finds what the SAFEQ API needs to know before it knows who asks:
// access keys, accounts, people by what identifies them, devices. It does not
// look at rights.
type Directory struct {
	pool    *pgxpool.Pool
	keys    *fresh[*AccessKey]
	subtree *fresh[[]domain.ID]
	revoked *fresh[bool]
}

// NewDirectory reads through pool.
func NewDirectory(pool *pgxpool.Pool) *Directory {
	return &Directory{pool: pool, keys: newFresh[*AccessKey](time.Now), subtree: newFresh[[]domain.ID](time.Now), revoked: newFresh[bool](time.Now)}
}

// Forget drops what is kept, for changes that a caller's own next request must see.
func (d *Directory) Forget() {
	d.keys.forget()
	d.subtree.forget()
	d.revoked.forget()
}

// AccessKey is a key of the SAFEQ API that was not deleted. Whether it is in force
// is Settings.Usable.
type AccessKey struct {
	ID             domain.ID
	OrganizationID domain.ID
	Settings       directory.AccessKeySettings
}

// Covers tells whether the key works for an account: its own, or one below it.
func (k AccessKey) Covers(a Account) bool {
	for _, id := range a.Path {
		if id == k.OrganizationID {
			return true
		}
	}
	return false
}

// AccessKey finds the key with a value; nil when there is none. The answer may be
// half a second old.
func (d *Directory) AccessKey(ctx context.Context, value string) (*AccessKey, error) {
	hash := sha256.Sum256([]byte(value))
	return d.keys.get(hash, func() (*AccessKey, error) { return d.accessKey(ctx, "hash = $1", hex.EncodeToString(hash[:])) })
}

// AccessKeyByID is AccessKey for who knows the key's id, from a token.
func (d *Directory) AccessKeyByID(ctx context.Context, id domain.ID) (*AccessKey, error) {
	return d.keys.get(sha256.Sum256(id[:]), func() (*AccessKey, error) { return d.accessKey(ctx, "id = $1", id) })
}

func (d *Directory) accessKey(ctx context.Context, where string, arg any) (*AccessKey, error) {
	var k AccessKey
	s := &k.Settings
	err := d.pool.QueryRow(ctx, `select id, organization_id, name, kind, is_active, allow_unauthenticated, allow_untrusted, automatic_trust, advanced, rights,
		allowed_addresses, expires_at from rm_directory.access_keys where `+where, arg).Scan(&k.ID, &k.OrganizationID, &s.Name, &s.Kind, &s.Active,
		&s.AllowUnauthenticated, &s.AllowUntrusted, &s.AutomaticTrust, &s.Advanced, &s.Rights, &s.AllowedAddresses, &s.ExpiresAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &k, err
}

// KeyActor is who acts in an account when a request carries an access key and no
// user's token: the key itself, with the permissions that it has without a user.
func (d *Directory) KeyActor(ctx context.Context, k AccessKey, account domain.ID) (domain.Actor, error) {
	below, err := d.Subtree(ctx, account)
	if err != nil {
		return domain.Actor{}, err
	}
	id := k.ID
	a := domain.Actor{UserID: id, KeyID: &id, Tenant: account, Organizations: below, Permissions: map[string]bool{}}
	for _, p := range k.Settings.Permissions() {
		a.Permissions[p] = true
	}
	return a, nil
}

// Subtree are an account and all below it, sorted.
func (d *Directory) Subtree(ctx context.Context, account domain.ID) ([]domain.ID, error) {
	return d.subtree.get(sha256.Sum256(account[:]), func() ([]domain.ID, error) {
		rows, err := d.pool.Query(ctx, "select id from rm_directory.organizations where path @> array[$1::uuid] order by id", account)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[domain.ID])
	})
}

// Account is an organization as the SAFEQ API sees it. Settings have the defaults
// filled in.
type Account struct {
	ID           domain.ID
	Number       int32
	ParentNumber int32       // 0 for the root
	Path         []domain.ID // from the root to the account itself
	Name         string      // as it is shown
	Settings     directory.AccountSettings
	CreatedAt    time.Time
}

const accountSQL = `select o.id, o.number, coalesce(p.number, 0), o.path, o.display_name, o.account_type, o.domain_names, o.application_name, o.trust_all_clients,
	o.location_id, o.access_seconds, o.refresh_days, o.keep_hours, o.name_logins, o.created_at
	from rm_directory.organizations o left join rm_directory.organizations p on p.id = o.parent_id where `

func (d *Directory) account(ctx context.Context, where string, arg any) (*Account, error) {
	rows, err := d.pool.Query(ctx, accountSQL+where, arg)
	if err != nil {
		return nil, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, scanAccount)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return a, err
}

func scanAccount(row pgx.CollectableRow) (*Account, error) {
	var a Account
	s := &a.Settings
	return &a, row.Scan(&a.ID, &a.Number, &a.ParentNumber, &a.Path, &a.Name, &s.Type, &s.DomainNames, &s.ApplicationName, &s.TrustAllClients,
		&s.LocationID, &s.AccessSeconds, &s.RefreshDays, &s.KeepHours, &s.NameLogins, &a.CreatedAt)
}

// AccountByDomain finds the account that a domain name leads to; nil for none.
// The name has no port.
func (d *Directory) AccountByDomain(ctx context.Context, name string) (*Account, error) {
	return d.account(ctx, "o.id = (select organization_id from rm_directory.account_domains where domain_name = $1)", domain.Normal(name))
}

// AccountByID finds an account; nil for none.
func (d *Directory) AccountByID(ctx context.Context, id domain.ID) (*Account, error) {
	return d.account(ctx, "o.id = $1", id)
}

// AccountByNumber finds an account by the number that the SAFEQ API knows it by;
// nil for none.
func (d *Directory) AccountByNumber(ctx context.Context, number int32) (*Account, error) {
	return d.account(ctx, "o.number = $1", number)
}

// PersonKey is by what people are looked for.
type PersonKey int

// By what people are looked for. Texts but external ids compare without regard to
// case.
const (
	ByUserName   PersonKey = iota
	ByCard                 // one of their cards
	ByShortID              // their short id
	ByEmail                // their mail address
	ByAlias                // those who have this alias
	ByExternalID           // their id in the user directory or another system
	ByNumber               // the id of the SAFEQ API, in decimal
	ByUserID               // a domain.ID
)

// personWhere are the conditions; $2 is the value.
var personWhere = map[PersonKey]string{
	ByUserName:   "u.user_name_f <> '' and u.user_name_f = $2",
	ByCard:       "u.id in (select user_id from rm_directory.user_cards where card_key = $2)",
	ByShortID:    "u.short_id_f <> '' and u.short_id_f = $2",
	ByEmail:      "u.email_f <> '' and u.email_f = $2",
	ByAlias:      "u.alias_f <> '' and u.alias_f = $2",
	ByExternalID: "u.external_id <> '' and u.external_id = $2",
	ByNumber:     "u.number = $2",
	ByUserID:     "u.id = $2",
}

// stored is the form in which a value is kept to be compared; ok is false for what
// nobody can have.
func (k PersonKey) stored(value string) (stored any, ok bool) {
	switch k {
	case ByCard:
		return directory.NormalCard(value), true
	case ByExternalID:
		return value, true
	case ByNumber:
		n, err := strconv.ParseInt(value, 10, 32)
		return int32(n), err == nil
	case ByUserID:
		id, err := uuid.Parse(value)
		return id, err == nil
	}
	return textfold.Fold(strings.TrimSpace(value)), true
}

// Person is a user as the SAFEQ API sees them.
type Person struct {
	ID             domain.ID
	Number         int32
	AccountID      domain.ID // where they act: the account looked in, or one below it that they are in
	AccountNumber  int32
	OrganizationID domain.ID // home
	UserName       string
	FullName       string
	Email          string
	Source         string // user directory they came from, "" for local ones
	Active         bool
	HasPassword    bool
	HasPIN         bool
	Department     string
	HomeFolder     string
	Alias          string
	ShortID        string
	ExternalID     string
	ExpiresAt      *time.Time
	Cards          []string // in the order in which they were added
	GroupNumbers   []int32  // sorted
	CreatedAt      time.Time
}

// personSQL finds users who are in an account or in one below it, those of the
// account itself first, then by depth.
const personSQL = `
select u.id, u.number, o.id, o.number, u.organization_id, u.user_name, u.full_name, u.email, u.source, u.is_active, u.has_password, u.has_pin,
  u.department, u.home_folder, u.alias, u.short_id, u.external_id, u.expires_at,
  (select coalesce(array_agg(c.card order by c.added_at, c.card_key), '{}') from rm_directory.user_cards c where c.user_id = u.id),
  (select coalesce(array_agg(g.number order by g.number), '{}') from rm_directory.user_groups m join rm_directory.groups g on g.id = m.group_id where m.user_id = u.id),
  u.created_at
from rm_directory.users u
cross join lateral (
  select w.id, w.number, cardinality(w.path) as depth
  from rm_directory.user_organizations m join rm_directory.organizations w on w.id = m.organization_id
  where m.user_id = u.id and w.path @> array[$1::uuid]
  order by depth, w.id limit 1) o
where u.kind = 'user' and %s
order by o.depth, u.id limit $3`

// maxPeople is how many people one look-up gives at most.
const maxPeople = 100

// People are the users of an account and of those below it whom a value
// identifies, the nearest first, at most a hundred. Inactive and expired ones are
// among them. User names and mail addresses lead to one person; cards and short
// ids to one of each home organization.
func (d *Directory) People(ctx context.Context, account domain.ID, by PersonKey, value string) ([]Person, error) {
	stored, ok := by.stored(value)
	if !ok {
		return nil, nil
	}
	rows, err := d.pool.Query(ctx, fmt.Sprintf(personSQL, personWhere[by]), account, stored, maxPeople)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanPerson)
}

// scanPerson reads a row of personSQL.
func scanPerson(row pgx.CollectableRow) (Person, error) {
	var p Person
	return p, row.Scan(&p.ID, &p.Number, &p.AccountID, &p.AccountNumber, &p.OrganizationID, &p.UserName, &p.FullName, &p.Email, &p.Source, &p.Active,
		&p.HasPassword, &p.HasPIN, &p.Department, &p.HomeFolder, &p.Alias, &p.ShortID, &p.ExternalID, &p.ExpiresAt, &p.Cards, &p.GroupNumbers, &p.CreatedAt)
}

// Device is a device that was not removed.
type Device struct {
	ID             domain.ID
	OrganizationID domain.ID
	AccessKeyID    domain.ID
	ClientID       string
	ClientType     string
	KeyType        string // "" without a public key
	PublicKey      string // base64
	Approved       bool
}

// DeviceByClient finds the device of an account that calls itself so; nil for none.
func (d *Directory) DeviceByClient(ctx context.Context, account domain.ID, clientID string) (*Device, error) {
	return d.device(ctx, "organization_id = $1 and client_id = $2", account, clientID)
}

// DeviceByID finds a device; nil for none.
func (d *Directory) DeviceByID(ctx context.Context, id domain.ID) (*Device, error) {
	return d.device(ctx, "id = $1", id)
}

func (d *Directory) device(ctx context.Context, where string, args ...any) (*Device, error) {
	var v Device
	err := d.pool.QueryRow(ctx, `select id, organization_id, access_key_id, client_id, client_type, key_type, public_key, is_approved
		from rm_directory.devices where `+where, args...).Scan(&v.ID, &v.OrganizationID, &v.AccessKeyID, &v.ClientID, &v.ClientType, &v.KeyType, &v.PublicKey, &v.Approved)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &v, err
}

// SessionRevoked tells whether a session ended before its time, so that its access
// tokens count no more. The answer may be half a second old.
func (d *Directory) SessionRevoked(ctx context.Context, session domain.ID) (bool, error) {
	return d.revoked.get(sha256.Sum256(session[:]), func() (revoked bool, err error) {
		err = d.pool.QueryRow(ctx, "select exists (select from rm_directory.revoked_sessions where session_id = $1)", session).Scan(&revoked)
		return revoked, err
	})
}
