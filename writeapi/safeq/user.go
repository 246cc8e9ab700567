package safeq

import (
	"context"
	"strconv"
	"strings"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/access"
	"docket/readapi/safeq"
)

// Kinds of details of a user (detailtype).
const (
	detailFullName   = 0
	detailEmail      = 1
	detailHomeFolder = 2
	detailPassword   = 3
	detailCard       = 4
	detailShortID    = 5
	detailPIN        = 6
	detailAlias      = 7
	detailOTP        = 10
	detailDepartment = 11
	detailExpiration = 12
	detailExternalID = 14
)

// Details are pairs of a kind and a value, in the order of the form. It is
// exported since the schema leaves embedded structs out that are not.
type Details struct {
	Types []int    `json:"detailtype,omitempty" enum:"0,1,2,3,4,5,6,7,10,11,12,14" maxItems:"200" doc:"0 full name, 1 mail address, 2 home folder, 3 password, 4 card, 5 short id, 6 PIN, 7 alias, 11 department, 12 expiration, 14 external id. May be repeated; pairs with detaildata by order."`
	Data  []string `json:"detaildata,omitempty" maxItems:"200"`
}

func registerUsers(w *writes) {
	tags := []string{"Users"}
	type create struct {
		Body struct {
			UserName   string `json:"username" minLength:"1"`
			ProviderID int32  `json:"providerid,omitempty" doc:"The local provider when absent."`
			Details
		}
	}
	add(w, httpx.Op{ID: "23", Method: put, Path: safeq.Base + "/users", Summary: "Create a user", Tags: tags, Form: true},
		safeq.Needs{Rights: []string{"ViewUser", "CreateUser"}, Advanced: true, Gives: ordinary, Code: safeq.CodeCreateUser},
		func(ctx context.Context, in *create) (*codeAnswer, error) {
			return coded(safeq.CodeCreateUser, w.createUser(ctx, in.Body.UserName, in.Body.ProviderID, in.Body.Details))
		})

	type byName struct {
		UserName   string `path:"username"`
		ProviderID int32  `query:"providerid" doc:"The local provider when absent."`
	}
	add(w, httpx.Op{ID: "24", Method: remove, Path: safeq.Base + "/users/{username}", Summary: "Delete a user", Tags: tags},
		safeq.Needs{Rights: []string{"ViewUser", "DeleteUser"}, Advanced: true, Code: safeq.CodeDeleteUser},
		func(ctx context.Context, in *byName) (*codeAnswer, error) {
			p, err := w.user(ctx, in.UserName, max(in.ProviderID, safeq.LocalProvider))
			if err == nil {
				err = sent(ctx, w, commanded.DeleteUser{ID: p.ID})
			}
			return coded(safeq.CodeDeleteUser, err)
		})

	type update struct {
		UserName string `path:"username"`
		Body     struct {
			ProviderID int32 `json:"providerid,omitempty" doc:"The local provider when absent."`
			Details
		}
	}
	add(w, httpx.Op{ID: "25", Method: post, Path: safeq.Base + "/users/{username}", Summary: "Update a detail of a user", Tags: tags, Form: true,
		Description: "Only the first pair counts. Without detaildata the detail is taken away. Further permissions: GenerateShortID for a short id, CardManagement for a card."},
		safeq.Needs{Rights: []string{"ViewUser", "ModifyUser"}, Advanced: true, Gives: ordinary, Code: safeq.CodeUpdateUser},
		func(ctx context.Context, in *update) (*codeAnswer, error) {
			return w.updateUser(ctx, in.UserName, in.Body.ProviderID, in.Body.Details)
		})

	type card struct {
		UserName string `path:"username"`
		Body     struct {
			CardID string `json:"cardid" minLength:"1"`
		}
	}
	add(w, httpx.Op{ID: "27", Method: post, Path: safeq.Base + "/users/{username}/cards", Summary: "Register a card for a user", Tags: tags, Form: true},
		safeq.Needs{Rights: []string{"ViewUser", "ModifyUser", "CardManagement"}, Gives: ordinary, Code: safeq.CodeEnrollCard},
		func(ctx context.Context, in *card) (*codeAnswer, error) {
			p, err := w.user(ctx, in.UserName, 0)
			if err == nil {
				err = renamed(sent(ctx, w, commanded.AddCard{UserID: p.ID, Card: in.Body.CardID}), map[string]string{"cards": "cardid", "cards[]": "cardid"})
			}
			return coded(safeq.CodeEnrollCard, err)
		})
	registerMemberships(w)
}

// user finds the user that a change is about. Provider 0 is any.
func (w *writes) user(ctx context.Context, name string, provider int32) (*access.Person, error) {
	p, err := w.Reads.Person(ctx, name, provider)
	if err == nil && p == nil {
		err = safeq.NoSuchUser(name)
	}
	return p, err
}

// detail is one thing that is said of a user.
type detail struct {
	kind  int
	value *string // nil: to be taken away
}

// pairs are the details in their order.
func (d Details) pairs() ([]detail, error) {
	if len(d.Types) != len(d.Data) {
		return nil, fault.InvalidField("detaildata", "must be sent as often as detailtype")
	}
	all := make([]detail, len(d.Types))
	for i, kind := range d.Types {
		all[i] = detail{kind, &d.Data[i]}
	}
	return all, nil
}

var errOTP = fault.New(fault.Conflict, "user.otp", "one time passwords are not supported")

func (w *writes) createUser(ctx context.Context, name string, provider int32, details Details) error {
	pairs, err := details.pairs()
	if err != nil {
		return err
	}
	cmd := commanded.CreateUser{ID: commands.NewID(ctx), Person: commanded.Person{UserName: &name}, Active: true, Roles: []domain.ID{directory.UsersID},
		Membership: commanded.Membership{Organizations: []domain.ID{safeq.CallerOf(ctx).Account.ID}}}
	if provider > safeq.LocalProvider {
		providers, err := w.Reads.Providers(ctx)
		if err != nil {
			return err
		}
		source, known := providers.Source(provider)
		if !known {
			return fault.New(fault.NotFound, "provider.not-found", "there is no provider %d", provider)
		}
		cmd.Source = source
	}
	for _, d := range pairs {
		set, err := d.setting()
		if err != nil {
			return err
		}
		into(&cmd, set)
	}
	return renamed(sent(ctx, w, cmd), userNames)
}

// userNames are this API's names for the fields of commands on users.
var userNames = map[string]string{"userName": "username", "firstName": "detaildata", "lastName": "detaildata", "email": "detaildata", "password": "detaildata",
	"department": "detaildata", "homeFolder": "detaildata", "alias": "detaildata", "shortId": "detaildata", "externalId": "detaildata", "expiresAt": "detaildata",
	"cards": "detaildata", "cards[]": "detaildata", "pin": "detaildata"}

// setting is a detail as commands take it.
func (d detail) setting() (*commanded.SetUserDetails, error) {
	value := text(d.value)
	s := &commanded.SetUserDetails{}
	switch d.kind {
	case detailFullName:
		s.FullName = &value
	case detailEmail:
		s.Email = &value
	case detailHomeFolder:
		s.Details.HomeFolder = &value
	case detailPassword:
		return s, hashed(&s.PasswordHash, value, "password", commanded.CheckPassword)
	case detailCard:
		s.Cards = []string{}
		if value != "" {
			s.Cards = []string{value}
		}
	case detailShortID:
		s.Details.ShortID = &value
	case detailPIN:
		return s, hashed(&s.PINHash, value, "PIN", commanded.CheckPIN)
	case detailAlias:
		s.Details.Alias = &value
	case detailDepartment:
		s.Details.Department = &value
	case detailExpiration:
		at, err := parseExpiration(value)
		s.Details.ExpiresAt = &at
		return s, err
	case detailExternalID:
		s.Details.ExternalID = &value
	default:
		return nil, errOTP
	}
	return s, nil
}

// hashed puts the hash of a secret where it belongs; "" takes the secret away.
func hashed(into **string, secret, what string, check func(string) string) error {
	hash := ""
	if secret != "" {
		if problem := check(secret); problem != "" {
			return fault.InvalidField("detaildata", "is no %s: it %s", what, problem)
		}
		hash = vault.HashPassword(secret)
	}
	*into = &hash
	return nil
}

// parseExpiration reads a moment, or the end of a day in UTC. Empty means never.
func parseExpiration(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 && ms < 253402300800000 {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, fault.InvalidField("detaildata", "is no date (2030-12-31), no time (2030-12-31T18:00:00Z), and no milliseconds since 1970")
}

// into adds a detail to a new user.
func into(dst *commanded.CreateUser, s *commanded.SetUserDetails) {
	set := func(to **string, from *string) {
		if from != nil {
			*to = from
		}
	}
	if s.FullName != nil {
		dst.Person.FirstName, dst.Person.LastName = directory.SplitName(*s.FullName)
	}
	if s.Email != nil {
		dst.Person.Email = *s.Email
	}
	if s.PasswordHash != nil {
		dst.PasswordHash = *s.PasswordHash
	}
	if s.PINHash != nil {
		dst.PINHash = *s.PINHash
	}
	dst.Cards = append(dst.Cards, s.Cards...)
	d := &dst.Details
	set(&d.Department, s.Details.Department)
	set(&d.HomeFolder, s.Details.HomeFolder)
	set(&d.Alias, s.Details.Alias)
	set(&d.ShortID, s.Details.ShortID)
	set(&d.ExternalID, s.Details.ExternalID)
	if s.Details.ExpiresAt != nil {
		d.ExpiresAt = s.Details.ExpiresAt
	}
}

// extraRights are those that some details need beside ModifyUser.
var extraRights = map[int]string{detailCard: "CardManagement", detailShortID: "GenerateShortID", detailOTP: "GenerateOTP"}

func (w *writes) updateUser(ctx context.Context, name string, provider int32, details Details) (*codeAnswer, error) {
	if len(details.Types) == 0 {
		return nil, fault.InvalidField("detailtype", "is required")
	}
	d := detail{kind: details.Types[0]}
	if len(details.Data) > 0 {
		d.value = &details.Data[0]
	}
	if right := extraRights[d.kind]; right != "" {
		var err error
		if ctx, err = safeq.Also(ctx, right); err != nil {
			return nil, err
		}
	}
	set, err := d.setting()
	if err != nil {
		return coded(safeq.CodeUpdateUser, err)
	}
	p, err := w.user(ctx, name, max(provider, safeq.LocalProvider))
	if err == nil {
		set.ID = p.ID
		err = renamed(sent(ctx, w, *set), userNames)
	}
	return coded(safeq.CodeUpdateUser, err)
}

func registerMemberships(w *writes) {
	tags := []string{"Users"}
	needs := safeq.Needs{Rights: []string{"ViewUser", "ModifyUser"}, Advanced: true, Gives: ordinary, Code: safeq.CodeUpdateUser}
	path := safeq.Base + "/users/{username}/groups"
	type required struct {
		UserName string `path:"username"`
		Body     struct {
			GroupIDs []string `json:"groupid" minItems:"1" maxItems:"1000" doc:"Numbers or textual ids."`
		}
	}
	type optional struct {
		UserName string `path:"username"`
		Body     struct {
			GroupIDs []string `json:"groupid,omitempty" maxItems:"1000" doc:"Numbers or textual ids. None: the user leaves all groups."`
		}
	}
	type either struct {
		UserName string   `path:"username"`
		Query    []string `query:"groupid,explode"`
		Body     struct {
			GroupIDs []string `json:"groupid,omitempty" maxItems:"1000" doc:"Numbers or textual ids. In the body or in the query."`
		}
	}
	add(w, httpx.Op{ID: "29", Method: put, Path: path, Summary: "Add a local user to groups", Tags: tags, Form: true}, needs, func(ctx context.Context, in *required) (*codeAnswer, error) {
		return w.regroup(ctx, in.UserName, in.Body.GroupIDs, func(user domain.ID, groups []domain.ID) commands.Command[directory.User] {
			return commanded.JoinGroups{UserID: user, Groups: groups}
		})
	})
	add(w, httpx.Op{ID: "30", Method: post, Path: path, Summary: "Set the groups of a local user", Tags: tags, Form: true}, needs, func(ctx context.Context, in *optional) (*codeAnswer, error) {
		return w.regroup(ctx, in.UserName, in.Body.GroupIDs, func(user domain.ID, groups []domain.ID) commands.Command[directory.User] {
			return commanded.SetGroups{UserID: user, Groups: groups}
		})
	})
	add(w, httpx.Op{ID: "31", Method: remove, Path: path, Summary: "Take a local user out of groups", Tags: tags, Form: true}, needs, func(ctx context.Context, in *either) (*codeAnswer, error) {
		all := append(in.Body.GroupIDs, in.Query...)
		if len(all) == 0 {
			return nil, fault.InvalidField("groupid", "is required")
		}
		return w.regroup(ctx, in.UserName, all, func(user domain.ID, groups []domain.ID) commands.Command[directory.User] {
			return commanded.LeaveGroups{UserID: user, Groups: groups}
		})
	})
}

// regroup changes the groups of a local user. An unknown user is a bad request
// here, an unknown group a refusal.
func (w *writes) regroup(ctx context.Context, name string, references []string, command func(user domain.ID, groups []domain.ID) commands.Command[directory.User]) (*codeAnswer, error) {
	p, err := w.Reads.LocalUser(ctx, name)
	if err != nil {
		return nil, err
	}
	groups := make([]domain.ID, len(references))
	for i, reference := range references {
		g, err := w.Reads.FindGroup(ctx, reference)
		switch {
		case err != nil:
			return nil, err
		case g == nil:
			return coded(safeq.CodeUpdateUser, safeq.NoSuchGroup(reference))
		}
		groups[i] = g.ID
	}
	return coded(safeq.CodeUpdateUser, renamed(sent(ctx, w, command(p.ID, groups)), map[string]string{"groups": "groupid", "groups[]": "groupid"}))
}
