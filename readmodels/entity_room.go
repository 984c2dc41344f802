package readmodels

import "strings"

// A page has MaxPageBytes. Of entities, which are the ones that may be large, the database
// keeps back what is beyond, and what they are expanded by counts, too.

// measuredLimit is from how many rows on it is looked how much they are: of fewer the
// database may send all, and a usual page goes without what that costs, a tenth of it.
const measuredLimit = 101

func (p *entityPlan) measures() bool { return p.limit >= measuredLimit }

// fittingColumns are entityColumns, without the attributes that there is no room for.
func (p *entityPlan) fittingColumns(args *arguments) string {
	if !p.measures() {
		return entityColumns
	}
	return strings.Replace(entityColumns, "e.attributes", "CASE WHEN e.before > "+args.add(MaxPageBytes)+" THEN NULL ELSE e.attributes END", 1)
}

// measured says of each row of a large page how much those before it take, as they are
// stored: attributes that there is no room for are neither unpacked nor sent. When types are
// wanted too, it counts the rows of each, so that a type is sent with the first of its
// entities and no other.
func (p *entityPlan) measured(rows string) string {
	columns := ""
	if p.measures() {
		columns += ", sum(pg_column_size(e.attributes)) OVER (ORDER BY " + p.orderBy() + " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before"
	}
	if p.query.ExpandTypes {
		columns += ", row_number() OVER (PARTITION BY e.type ORDER BY " + p.orderBy() + ") AS nth"
	}
	if columns == "" {
		return rows
	}
	return "SELECT e.*" + columns + " FROM (" + rows + ") e"
}

// expand fills in the types, which come once and are shown with each entity. It reports
// whether entities had to go for want of room.
func (p *EntityPage) expand(types map[string]*EntityType) (cut bool) {
	var page room
	for i := range p.Items {
		e := &p.Items[i]
		e.Definition = types[e.Type]
		if !page.fits(len(e.Attributes) + e.Definition.bytes()) {
			p.Items = p.Items[:i]
			return true
		}
	}
	return false
}
