package change

import "flask-on-fargate/internal/assembly"

// Policy is what happens to a resource that leaves its template, or that is replaced. A greater one keeps more.
type Policy int

// The policies. RetainExceptOnCreate is Retain once the resource exists.
const (
	Delete Policy = iota
	Snapshot
	Retain
)

// String says what happens to the resource.
func (p Policy) String() string {
	return [...]string{"deleted", "deleted after a final snapshot", "kept"}[p]
}

// DeletionPolicy returns what happens to a resource that leaves its template. By default, a database that is in no cluster leaves a
// snapshot.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
func DeletionPolicy(r assembly.Resource) Policy {
	if r.Type == DatabaseType {
		return policy(r.DeletionPolicy, Snapshot)
	}
	return policy(r.DeletionPolicy, Delete)
}

// UpdateReplacePolicy returns what happens to a resource that is replaced. By default nothing is left of it.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatereplacepolicy.html
func UpdateReplacePolicy(r assembly.Resource) Policy { return policy(r.UpdateReplacePolicy, Delete) }

func policy(value string, otherwise Policy) Policy {
	switch value {
	case "Retain", "RetainExceptOnCreate":
		return Retain
	case "Snapshot":
		return Snapshot
	case "Delete":
		return Delete
	}
	return otherwise
}
