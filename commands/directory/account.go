package directory

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

const (
	maxDomainNames   = 100
	minAccessSeconds = 60
	maxAccessSeconds = 86_400
	maxRefreshDays   = 3_650
	maxKeepHours     = 87_600 // ten years
)

// hostName is a name of the DNS, in lower case and ASCII.
var hostName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// SetAccount makes the account settings of an organization what the command says.
// Zero values mean the defaults. Problems: type, domainNames, domainNames[i],
// applicationName, locationId, accessSeconds, refreshDays, keepHours.
type SetAccount struct {
	OrganizationID domain.ID
	Settings       directory.AccountSettings
}

func (c SetAccount) Name() string       { return "directory.set-account" }
func (c SetAccount) Stream() string     { return directory.OrganizationStream(c.OrganizationID) }
func (c SetAccount) Permission() string { return "organizations.edit" }

// Decide implements commands.Command.
func (c SetAccount) Decide(o directory.Organization, env commands.Env) ([]domain.Event, error) {
	if !o.Exists() {
		return nil, fault.Missing("organization", c.OrganizationID)
	}
	v := &verdict{env: env}
	is := v.account(c.Settings)
	if err := v.Err(); err != nil {
		return nil, err
	}
	had := o.Account.Defaulted() // who sends the defaults changes nothing
	had.DomainNames = orEmpty(had.DomainNames)
	if reflect.DeepEqual(is.Defaulted(), had) {
		return nil, nil
	}
	return []domain.Event{directory.AccountChanged{ID: c.OrganizationID, Settings: is, At: env.Now}}, nil
}

// account returns settings in their normal form.
func (v *verdict) account(s directory.AccountSettings) directory.AccountSettings {
	v.Check(slices.Contains([]directory.AccountType{0, directory.Vendor, directory.Customer, directory.Container}, s.Type), "type", "must be 1 (vendor), 2 (customer) or 3 (container)")
	s.ApplicationName = rule.Line(&v.Problems, "applicationName", s.ApplicationName, rule.MaxName)
	s.DomainNames = v.domainNames(s.DomainNames)
	v.Check(s.LocationID >= 0, "locationId", "must not be negative")
	v.Check(s.AccessSeconds == 0 || s.AccessSeconds >= minAccessSeconds && s.AccessSeconds <= maxAccessSeconds, "accessSeconds",
		"must be from %d to %d", minAccessSeconds, maxAccessSeconds)
	v.Check(s.RefreshDays >= 0 && s.RefreshDays <= maxRefreshDays, "refreshDays", "must be from 1 to %d", maxRefreshDays)
	v.Check(s.KeepHours >= 0 && s.KeepHours <= maxKeepHours, "keepHours", "must be from 1 to %d", maxKeepHours)
	return s
}

// domainNames checks names by which clients reach an account: of the DNS, or an
// address for networks without it.
func (v *verdict) domainNames(names []string) []string {
	v.Check(len(names) <= maxDomainNames, "domainNames", "must not hold more than %d entries", maxDomainNames)
	kept := []string{}
	for i, name := range names[:min(len(names), maxDomainNames)] {
		name = domain.Normal(name)
		_, err := netip.ParseAddr(name)
		v.Check(err == nil || len(name) <= 253 && hostName.MatchString(name), fmt.Sprintf("domainNames[%d]", i), "must be a host name without a port, or an address")
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}
