from apps.actors import ProjectRole


def test_roles_of_a_member(engineer, project, actor_for):
    assert actor_for(engineer).project_roles == {project.pk: frozenset({ProjectRole.ENGINEER})}
