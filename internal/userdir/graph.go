package userdir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	graphPage     = 999 // the most that Graph gives
	graphTries    = 6   // of one request
	graphMembers  = 4   // groups that are read at once
	maxAnswer     = 64 << 20
	mostPatience  = 10 * time.Minute // for a Retry-After
	tokenHeadroom = time.Minute
)

// graph is Microsoft Entra ID by Microsoft Graph v1.0.
type graph struct {
	settings Settings
	options  Options

	mu      sync.Mutex
	token   string
	expires time.Time
}

// Authenticate implements Source: Entra ID checks passwords on its own pages only.
func (*graph) Authenticate(context.Context, string, string) (bool, error) {
	return false, ErrNoPasswords
}

type graphUser struct {
	ID                       string `json:"id"`
	UserPrincipalName        string `json:"userPrincipalName"`
	OnPremisesSamAccountName string `json:"onPremisesSamAccountName"`
	DisplayName              string `json:"displayName"`
	GivenName                string `json:"givenName"`
	Surname                  string `json:"surname"`
	Mail                     string `json:"mail"`
	Department               string `json:"department"`
	AccountEnabled           *bool  `json:"accountEnabled"`
}

type graphGroup struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
}

type graphRef struct {
	ID string `json:"id"`
}

// Read implements Source.
func (g *graph) Read(ctx context.Context, visit Visitor) error {
	groups := map[string][]string{} // ids of groups by the id of who is in them
	var mu sync.Mutex
	members, within := errgroup.WithContext(ctx)
	members.SetLimit(graphMembers)
	err := list(within, g, "/groups", url.Values{"$select": {"id,displayName"}}, func(one graphGroup) error {
		members.Go(func() error {
			return list(within, g, "/groups/"+url.PathEscape(one.ID)+"/members", url.Values{"$select": {"id"}}, func(who graphRef) error {
				mu.Lock()
				defer mu.Unlock()
				groups[who.ID] = append(groups[who.ID], one.ID)
				return nil
			})
		})
		return visit.Group(Group{ExternalID: one.ID, Name: one.DisplayName})
	})
	// What stopped the members stopped the list too, and says more.
	if failed := members.Wait(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	query := url.Values{"$select": {"id,userPrincipalName,onPremisesSamAccountName,displayName,givenName,surname,mail,department,accountEnabled"}}
	if g.settings.Filter != "" {
		query.Set("$filter", g.settings.Filter)
		query.Set("$count", "true") // what some filters need, with ConsistencyLevel
	}
	return list(ctx, g, "/users", query, func(one graphUser) error { return visit.User(g.user(one, groups[one.ID])) })
}

func (g *graph) user(one graphUser, groups []string) User {
	slices.Sort(groups)
	u := User{ExternalID: one.ID, FirstName: one.GivenName, LastName: one.Surname, Email: one.Mail, Department: one.Department,
		Active: one.AccountEnabled == nil || *one.AccountEnabled, Groups: slices.Compact(groups)}
	u.fallbackName(one.DisplayName)
	account := one.OnPremisesSamAccountName
	if account == "" {
		account, _, _ = strings.Cut(one.UserPrincipalName, "@")
	}
	g.settings.name(&u, one.UserPrincipalName, account)
	return u
}

// list reads all pages of a list.
func list[T any](ctx context.Context, g *graph, path string, query url.Values, each func(T) error) error {
	query.Set("$top", strconv.Itoa(min(g.options.PageSize, graphPage)))
	for next := g.options.GraphURL + "/v1.0" + path + "?" + query.Encode(); next != ""; {
		// The token goes nowhere else.
		if !strings.HasPrefix(next, g.options.GraphURL+"/") {
			return failure(Refused, false, nil, "Graph leads to another server")
		}
		var page struct {
			Value []T    `json:"value"`
			Next  string `json:"@odata.nextLink"`
		}
		if err := g.get(ctx, next, &page); err != nil {
			return err
		}
		for _, one := range page.Value {
			if err := each(one); err != nil {
				return err
			}
		}
		next = page.Next
	}
	return nil
}

// get reads an answer, again when Graph is too busy or the token has run out.
func (g *graph) get(ctx context.Context, address string, into any) error {
	renewed := false
	for try := 1; ; try++ {
		token, err := g.bearer(ctx)
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("ConsistencyLevel", "eventual")
		answer, err := g.do(request)
		if err == nil && answer.status == http.StatusOK {
			if err = json.Unmarshal(answer.body, into); err == nil {
				return nil
			}
			return failure(Lost, true, err, "Graph's answer can't be read")
		}
		switch {
		case err == nil && answer.status == http.StatusUnauthorized && !renewed:
			renewed = true
			g.forget(token)
			continue
		case try < graphTries && ctx.Err() == nil && (err != nil || answer.busy()):
			if err := pause(ctx, answer.patience(g.options.Backoff<<(try-1))); err != nil {
				return err
			}
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return failure(Lost, true, err, "Graph does not answer")
		}
		return answer.trouble()
	}
}

// bearer is a token of the application, which is asked for when there is none.
func (g *graph) bearer(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token != "" && time.Now().Before(g.expires) {
		return g.token, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {g.settings.ClientID}, "client_secret": {g.settings.ClientSecret},
		"scope": {g.options.GraphURL + "/.default"}}.Encode()
	address := g.options.LoginURL + "/" + url.PathEscape(g.settings.TenantID) + "/oauth2/v2.0/token"
	for try := 1; ; try++ {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form))
		if err != nil {
			return "", err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := g.do(request)
		if err == nil && answer.status == http.StatusOK {
			return g.keep(answer.body)
		}
		switch {
		case try < graphTries && ctx.Err() == nil && (err != nil || answer.busy()):
			if err := pause(ctx, answer.patience(g.options.Backoff<<(try-1))); err != nil {
				return "", err
			}
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			return "", failure(Unreachable, true, err, "Entra ID does not answer")
		case answer.busy():
			return "", failure(Unreachable, true, answer.told(), "Entra ID gives no token now (%s)", answer.word())
		default:
			return "", failure(Credentials, false, answer.told(), "Entra ID refuses the application (%s)", answer.word())
		}
	}
}

func (g *graph) keep(body []byte) (string, error) {
	var t struct {
		Token   string `json:"access_token"`
		Seconds int    `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &t); err != nil || t.Token == "" {
		return "", failure(Unreachable, true, err, "Entra ID's answer holds no token")
	}
	g.token, g.expires = t.Token, time.Now().Add(time.Duration(t.Seconds)*time.Second-tokenHeadroom)
	return g.token, nil
}

// forget drops a token that is no longer taken.
func (g *graph) forget(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token == token {
		g.token = ""
	}
}

// graphAnswer is an answer of Graph or of the token's giver. Nil when there was none.
type graphAnswer struct {
	status int
	retry  string // Retry-After
	body   []byte
}

func (g *graph) do(request *http.Request) (*graphAnswer, error) {
	response, err := g.options.HTTP.Do(request)
	if err != nil {
		return nil, withoutAddress(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return &graphAnswer{status: response.StatusCode, retry: response.Header.Get("Retry-After"), body: body}, nil
}

// withoutAddress leaves the address out of an error: filters may tell names.
func withoutAddress(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// busy tells whether the same request may go well later.
func (a *graphAnswer) busy() bool {
	return a.status == http.StatusTooManyRequests || a.status >= 500
}

// patience is how long to wait before the next try.
func (a *graphAnswer) patience(otherwise time.Duration) time.Duration {
	if a == nil || a.retry == "" {
		return otherwise
	}
	if seconds, err := strconv.Atoi(a.retry); err == nil {
		return min(max(time.Duration(seconds)*time.Second, 0), mostPatience)
	}
	if at, err := http.ParseTime(a.retry); err == nil {
		return min(max(time.Until(at), 0), mostPatience)
	}
	return otherwise
}

// word is the error's code, by which documents tell what it means.
func (a *graphAnswer) word() string {
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	var inner struct {
		Code string `json:"code"`
	}
	var plain string
	code := ""
	if json.Unmarshal(a.body, &e) == nil {
		if json.Unmarshal(e.Error, &plain) == nil {
			code = plain
		} else if json.Unmarshal(e.Error, &inner) == nil {
			code = inner.Code
		}
	}
	if code == "" || len(code) > 100 {
		return "status " + strconv.Itoa(a.status)
	}
	return fmt.Sprintf("status %d, %s", a.status, code)
}

// told is the answer for the log.
func (a *graphAnswer) told() error {
	return fmt.Errorf("status %d: %s", a.status, bytes.ToValidUTF8(a.body[:min(len(a.body), 1000)], []byte("?")))
}

// trouble says in our words why Graph did not do what it was asked.
func (a *graphAnswer) trouble() error {
	switch {
	case a.busy(), a.status == http.StatusNotFound, a.status == http.StatusGone:
		// Links to further pages run out.
		return failure(Lost, true, a.told(), "Graph does not go on (%s)", a.word())
	case a.status == http.StatusUnauthorized:
		return failure(Credentials, false, a.told(), "Graph refuses the application (%s)", a.word())
	case a.status == http.StatusForbidden:
		return failure(Refused, false, a.told(), "Graph refuses (%s): the application needs User.Read.All and GroupMember.Read.All", a.word())
	}
	return failure(Refused, false, a.told(), "Graph refuses (%s)", a.word())
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
