package qalyptus

import (
	"context"
	"net/http"
	"slices"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/qalyptus"

	"github.com/google/uuid"
)

// PersonBody is what users and recipients have in common. It is exported since the
// schema leaves embedded structs out that are not.
type PersonBody struct {
	FirstName     string   `json:"firstName" minLength:"1"`
	LastName      string   `json:"lastName" minLength:"1"`
	Email         *string  `json:"email,omitempty" nullable:"true"`
	Password      *string  `json:"password,omitempty" nullable:"true" writeOnly:"true"`
	IsActive      bool     `json:"isActive"`
	IsoLanguage   *string  `json:"isoLanguage,omitempty" nullable:"true"`
	Organizations []entity `json:"organizations"`
	Groups        []entity `json:"groups,omitempty" nullable:"true"`
}

func (b PersonBody) person(domainAccount *string) commanded.Person {
	return commanded.Person{DomainAccount: text(domainAccount), FirstName: b.FirstName, LastName: b.LastName, Email: text(b.Email), Language: text(b.IsoLanguage)}
}

func (b PersonBody) membership() commanded.Membership {
	return commanded.Membership{Organizations: idsOf(b.Organizations), Groups: idsOf(b.Groups)}
}

// passwordHash hashes the password, "" when none was sent.
func (b PersonBody) passwordHash() (string, error) {
	if text(b.Password) == "" {
		return "", nil
	}
	if problem := commanded.CheckPassword(*b.Password); problem != "" {
		return "", fault.InvalidField("password", "%s", problem)
	}
	return vault.HashPassword(*b.Password), nil
}

type userBody struct {
	PersonBody
	DomainAccount    *string  `json:"domainAccount,omitempty" nullable:"true"`
	SendNotification bool     `json:"sendNotification,omitempty"`
	Roles            []entity `json:"roles,omitempty" nullable:"true"`
}

type addUser struct{ Body userBody }

type updateUser struct {
	ID   uuid.UUID `path:"id"`
	Body userBody
}

type addRecipient struct{ Body PersonBody }

type updateRecipient struct {
	ID   uuid.UUID `path:"id"`
	Body PersonBody
}

type convertRecipient struct {
	ID   uuid.UUID `path:"id"`
	Body struct {
		Roles            []entity `json:"roles"`
		IsActive         bool     `json:"isActive"`
		SendNotification bool     `json:"sendNotification,omitempty"`
		Language         string   `json:"language" minLength:"1"`
		Domain           *string  `json:"domain,omitempty" nullable:"true"`
	}
}

func registerUsers(w *writes) {
	tags := []string{"User"}
	create[qalyptus.User](w, httpx.Op{ID: "171", Path: "/users", Summary: "Add user", Tags: tags, Permission: "users.create"}, w.addUser)
	update[qalyptus.User](w, httpx.Op{ID: "174", Path: "/users/{id}", Summary: "Update user", Tags: tags, Permission: "users.edit"}, w.updateUser)
	create[qalyptus.User](w, httpx.Op{ID: "173", Path: "/users/recipients", Summary: "Add recipient", Tags: tags, Permission: "users.create"}, w.addRecipient)
	update[qalyptus.User](w, httpx.Op{ID: "181", Path: "/users/recipients/{id}", Summary: "Update recipient", Tags: tags, Permission: "users.edit"}, w.updateRecipient)
	// A POST that makes nothing new: 200.
	httpx.Register(w.API, httpx.Op{ID: "183", Method: http.MethodPost, Path: "/users/recipients/{id}/convert", Summary: "Convert recipient to user", Tags: tags,
		Permission: "users.edit", Returns: qalyptus.Envelope[qalyptus.User]{}}, w.convertRecipient)
	removeOne(w, httpx.Op{ID: "176", Path: "/users/{id}", Summary: "Delete user", Tags: tags, Permission: "users.delete"}, deleteUser)
	removeMany(w, httpx.Op{ID: "179", Path: "/users", Summary: "Delete users", Tags: tags, Permission: "users.delete"}, deleteUser)
}

func deleteUser(id domain.ID) commands.Command[directory.User] { return commanded.DeleteUser{ID: id} }

func (w *writes) addUser(ctx context.Context, in *addUser) (*httpx.Raw, error) {
	hash, err := in.Body.passwordHash()
	if err != nil {
		return nil, err
	}
	id := commands.NewID(ctx)
	done, err := commands.Send(ctx, w.Bus, commanded.CreateUser{ID: id, Person: in.Body.person(in.Body.DomainAccount), PasswordHash: hash,
		Active: in.Body.IsActive, Invite: in.Body.SendNotification, Roles: idsOf(in.Body.Roles), Membership: in.Body.membership()})
	return w.user(ctx, http.StatusCreated, id, done, err)
}

func (w *writes) updateUser(ctx context.Context, in *updateUser) (*httpx.Raw, error) {
	hash, err := in.Body.passwordHash()
	if err != nil {
		return nil, err
	}
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateUser{ID: in.ID, Person: in.Body.person(in.Body.DomainAccount), PasswordHash: hash,
		Active: &in.Body.IsActive, Invite: in.Body.SendNotification, Roles: idsOf(in.Body.Roles), Membership: in.Body.membership()})
	return w.user(ctx, http.StatusOK, in.ID, done, err)
}

func (w *writes) addRecipient(ctx context.Context, in *addRecipient) (*httpx.Raw, error) {
	hash, err := in.Body.passwordHash()
	if err != nil {
		return nil, err
	}
	id := commands.NewID(ctx)
	done, err := commands.Send(ctx, w.Bus, commanded.CreateRecipient{ID: id, Person: in.Body.person(nil), PasswordHash: hash,
		Active: in.Body.IsActive, Membership: in.Body.membership()})
	return w.user(ctx, http.StatusCreated, id, done, err)
}

func (w *writes) updateRecipient(ctx context.Context, in *updateRecipient) (*httpx.Raw, error) {
	hash, err := in.Body.passwordHash()
	if err != nil {
		return nil, err
	}
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateRecipient{ID: in.ID, Person: in.Body.person(nil), PasswordHash: hash,
		Active: &in.Body.IsActive, Membership: in.Body.membership()})
	return w.user(ctx, http.StatusOK, in.ID, done, err)
}

func (w *writes) convertRecipient(ctx context.Context, in *convertRecipient) (*httpx.Raw, error) {
	done, err := commands.Send(ctx, w.Bus, commanded.ConvertRecipient{ID: in.ID, Roles: idsOf(in.Body.Roles), Active: in.Body.IsActive,
		Invite: in.Body.SendNotification, Language: in.Body.Language, DomainAccount: text(in.Body.Domain)})
	return w.user(ctx, http.StatusOK, in.ID, done, err)
}

func (w *writes) user(ctx context.Context, status int, id domain.ID, done commands.Result[directory.User], err error) (*httpx.Raw, error) {
	return answer(ctx, w, status, qalyptus.UserShape, id, done, err, func(u directory.User) qalyptus.User {
		return qalyptus.UserOf(u, w.names(ctx, slices.Concat(u.Roles, u.InOrgs, u.Groups)...))
	})
}
